"""Parse YAML into plain data, with the line of every key.

Unlike PyYAML's `safe_load`, so that a study file holds no surprises: numbers are
YAML 1.2's (`1e-3` is one, `010` is ten, `1:30` is text), a key given twice is an error, tags (`!!python/object`) and
merge keys (`<<`) are refused, and so are recursive or oversized aliases.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from epsearch.core.commands import command
from epsearch.core.errors import UserError
from epsearch.core.messages import clipped

KeyPath = tuple[str | int, ...]

MAX_BYTES = 100_000
MAX_VALUES = 10_000
"""A study file has about 50 values; many more mean a wrong file or nested anchors."""
MAX_DIGITS = 100


@dataclass
class Source:
    """Parsed data, and the origin of each key (`"line 7"`, `"--set lr=1"`)."""

    name: str
    data: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path.cwd)

    def origin(self, path: KeyPath) -> str:
        """The origin of `path` or of its nearest parent in the file: `study.yaml, line 7`."""
        for length in range(len(path), 0, -1):
            if found := self.origins.get(path[:length]):
                return f"{self.name}, {found}" if found.startswith("line") else found
        return self.name


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema of YAML 1.2 and no tags."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            problem = "tags (!…) are not allowed in a study file; write the plain value"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
]:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def _construct_int(_: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MAX_DIGITS:
        problem = f"a number of {len(node.value)} digits is too long"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return int(node.value)  # SafeLoader reads 010 as octal


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def parse_value(text: str, name: str) -> Any:
    """Parse one YAML value, as in `--set key=value`; messages call it `name`.

    Raises:
        UserError: it is not YAML, repeats a key, or expands too far.
    """
    return _parse(text, name)[1]


def read_yaml(path: Path) -> Source:
    """Read a YAML file whose top level is a mapping.

    Raises:
        UserError: it cannot be read, is not text, not YAML, not a mapping, repeats a key, or expands too far.
    """
    name = clipped(str(path), 300)
    origins, data = _parse(_read_text(path, name), name)
    if not isinstance(data, dict):
        found = "nothing" if data is None else "a list" if isinstance(data, list) else "one value"
        raise UserError(
            f"{name}, line 1: a study file is a mapping of keys to values, but this file contains {found}. "
            f"`{command('init')}` writes a template."
        )
    return Source(name, data, origins, path.resolve().parent)


def _parse(text: str, name: str) -> tuple[dict[KeyPath, str], Any]:
    """The origin of each key, and the data."""
    origins: dict[KeyPath, str] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return origins, None
            _check_expansion(name, node)
            _index(name, loader, node, (), origins)
            return origins, loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(
            f"{name}{_line_of(error, text)}: cannot be read as YAML: {clipped(_reason(error), 300)}."
        ) from error


def _line_of(error: Exception, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f", line {text.count(chr(10), 0, error.position) + 1}"
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


_HINTS = {
    "found character '\\t' that cannot start any token": "indent with spaces, not tabs",
    "mapping values are not allowed here": "indent the keys of a section alike, and quote a text that holds a colon",
}


def _reason(error: Exception) -> str:
    """PyYAML's message on one line, with a hint."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, yaml.reader.ReaderError):
        return (
            f"it contains the control character {chr(error.character)!r}"
            if error.encoding == "unicode"
            else error.reason
        )
    assert isinstance(error, yaml.MarkedYAMLError)
    problem, context = error.problem or "", error.context or ""
    if problem.startswith("but "):
        problem = f"{context}, {problem}"
    elif error.context_mark and error.problem_mark and error.context_mark.line < error.problem_mark.line:
        problem += f" ({context} that begins on line {error.context_mark.line + 1})"
    return problem + (f"; {hint}" if (hint := _HINTS.get(error.problem or "")) else "")


def _read_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise UserError(
            f"{name}: is a directory; name the study file in it, e.g. {Path(name, 'study.yaml')}."
        ) from error
    except FileNotFoundError as error:
        beside = sorted(found.name for pattern in ("*.yaml", "*.yml") for found in path.parent.glob(pattern))
        there = f" In that folder there are: {clipped(', '.join(beside[:8]))}." if beside else ""
        raise UserError(f"{name}: no such file.{there} `{command('init')}` writes a template.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{name}: is larger than {MAX_BYTES:,} bytes, too large for a study file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{name}, line {line}: is not UTF-8 text (byte 0x{content[error.start]:02x}); save it as UTF-8."
        ) from error


def _check_expansion(name: str, root: yaml.Node) -> None:
    """Count the values that aliases expand to, without expanding them."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise UserError(f"{name}, line {node.start_mark.line + 1}: an anchor contains itself; write it out.")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            children: list[yaml.Node] = []
            if isinstance(node, yaml.MappingNode):
                children = [child for pair in node.value for child in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = list(node.value)
            sizes[id(node)] = 1 + sum(size(child) for child in children)
            open_nodes.discard(id(node))
        return sizes[id(node)]

    if size(root) > MAX_VALUES:
        raise UserError(
            f"{name}: holds {size(root):,} values once its anchors are expanded (at most {MAX_VALUES:,}); "
            "write the few values a study needs without anchors."
        )


def _index(name: str, loader: _Loader, node: yaml.Node, at: KeyPath, origins: dict[KeyPath, str]) -> None:
    """Record the line of every key, and refuse duplicate keys (PyYAML silently keeps the last)."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            origins[(*at, index)] = f"line {child.start_mark.line + 1}"
            _index(name, loader, child, (*at, index), origins)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[Hashable, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise UserError(
                f"{name}, line {line}: the key {clipped(repr(key), 60)} is not text; quote it or rename it."
            )
        if key in seen:
            full = clipped(".".join(map(str, (*at, key))), 100)
            raise UserError(f"{name}, line {line}: {full} is given twice (first on line {seen[key]}); remove one.")
        seen[key] = line
        origins[(*at, key)] = f"line {line}"
        _index(name, loader, value_node, (*at, key), origins)
