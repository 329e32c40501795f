"""YAML text to plain data that remembers the line of every key.

Differences from PyYAML's `safe_load`, each because a study file would surprise without it: numbers are
YAML 1.2's (`1e-3` is one, `010` is ten, `1:30` is text), a key given twice is an error, and a file whose anchors
expand without end or without measure is refused.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from epsearch.errors import UserError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_VALUES = 10_000
"""A study file has some 50 values; far more come from a wrong file or from anchors that multiply."""


@dataclass
class Source:
    """Parsed data and where each key of it was written (`"line 7"`, `"--set lr=1"`)."""

    name: str
    data: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Where `path`, or the nearest parent of it that was written down, stands."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return "line 1"


class _Loader(yaml.SafeLoader):
    """SafeLoader with the core schema of YAML 1.2."""


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
    ("merge", r"<<", ["<"]),
]:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def _construct_int(_: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)  # SafeLoader's own reads 010 as octal


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def parse_value(text: str) -> Any:
    """One YAML value, as `--set key=value` gives it.

    Raises:
        UserError: it is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{text!r} is not a YAML value: {_first_line(error)}.") from error


def read_yaml(path: Path) -> Source:
    """Read a YAML file whose top level is a mapping.

    Raises:
        UserError: it cannot be read, is not text, not YAML, not a mapping, repeats a key, or expands too far.
    """
    text = _read_text(path)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            found = "nothing" if node is None else "a list" if isinstance(node, yaml.SequenceNode) else "one value"
            raise UserError(
                f"{path}, line 1: a study file is a mapping of keys to values, but this holds {found}. "
                "`epsearch init` writes a template."
            )
        source = Source(str(path), {})
        _check_expansion(path, node)
        _index(path, loader, node, (), source.places)
        source.data = loader.construct_document(node)
        return source
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        hint = " Indent with spaces, not tabs." if "'\\t'" in str(error) else ""
        raise UserError(f"{path}, line {line}: is not YAML: {_first_line(error)}.{hint}") from error
    finally:
        loader.dispose()


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return str(problem).splitlines()[0].rstrip(".")


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise UserError(f"{path}: is a directory; name the study file in it, e.g. {path / 'study.yaml'}.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        beside = sorted(found.name for pattern in ("*.yaml", "*.yml") for found in path.parent.glob(pattern))
        there = f" In that folder there are: {', '.join(beside[:8])}." if beside else ""
        raise UserError(f"{path}: no such file.{there} `epsearch init` writes a template.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path}: is larger than {MAX_BYTES:,} bytes, so it is no study file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: is not UTF-8 text (byte 0x{content[error.start]:02x}); save it as UTF-8."
        ) from error


def _check_expansion(path: Path, root: yaml.Node) -> None:
    """Count the values the aliases expand to, by node and not by visit: a bomb is counted, not exploded."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise UserError(f"{path}, line {node.start_mark.line + 1}: an anchor contains itself; write it out.")
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
            f"{path}, line 1: holds {size(root):,} values once its anchors are expanded (at most {MAX_VALUES:,}); "
            "write the few values a study needs without anchors."
        )


def _index(path: Path, loader: _Loader, node: yaml.Node, at: KeyPath, places: dict[KeyPath, str]) -> None:
    """Note the line of every key, and refuse keys given twice (PyYAML silently keeps the last)."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            places[(*at, index)] = f"line {child.start_mark.line + 1}"
            _index(path, loader, child, (*at, index), places)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[Hashable, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise UserError(f"{path}, line {line}: the key {key!r} is no text; quote it or give it a name.")
        if key in seen:
            name = ".".join(map(str, (*at, key)))
            raise UserError(f"{path}, line {line}: {name} is given twice (first on line {seen[key]}); remove one.")
        seen[key] = line
        places[(*at, key)] = f"line {line}"
        _index(path, loader, value_node, (*at, key), places)
