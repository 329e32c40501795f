"""Reading a study file, with the one message that a wrong one gets, and writing a resolved one."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from epsearch.config import StudyConfig
from epsearch.errors import UserError
from epsearch.wording import (
    MESSAGE_LIMIT,
    NOT_SHOWN,
    clipped,
    hint,
    mask_password,
    mask_url,
    mask_urls_in,
    shown,
    suggestion,
)
from epsearch.yamlfile import KeyPath, Source, parse_value, read_yaml

SHOWN_MISTAKES = 10
STORAGE_VARIABLE = "EPSEARCH_STORAGE"
"""Environment variable that overrides `engine.storage`: where a password should not stand in a file."""


def without_storage(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that need not know the password."""
    return {name: value for name, value in environment.items() if name != STORAGE_VARIABLE}


def load_study(path: str | Path, overrides: Sequence[str] = (), *, recorded: bool = False) -> StudyConfig:
    """Read a study file, apply `key=value` overrides, check it.

    `recorded`: the file is a run directory's record, which keeps its storage; the environment only adds the password.

    Raises:
        UserError: one message, a line for each mistake: file and line, key, what was found, what is allowed.
    """
    path = Path(path)
    source = read_yaml(path)
    for override in overrides:
        _override(source, override)
    source.data.setdefault("name", path.stem)
    _resolve_folder(source)
    storage = os.environ.get(STORAGE_VARIABLE)
    if storage and (not recorded or mask_url(storage) == _recorded_storage(source)):
        _override(source, f"engine.storage={storage}", STORAGE_VARIABLE)
    _resolve_sqlite(source)
    try:
        config = StudyConfig.model_validate(source.data)
    except ValidationError as error:
        raise UserError(_mistakes(source, error.errors())) from None
    config._source = source
    return config


def _recorded_storage(source: Source) -> str | None:
    """The masked URL of a run directory's storage; None for its own SQLite."""
    engine = source.data.get("engine")
    storage = engine.get("storage") if isinstance(engine, dict) else None
    return mask_url(storage) if isinstance(storage, str) else None


def _mistakes(source: Source, details: Sequence[ErrorDetails]) -> str:
    """A line for each mistake: the first ten, or as many as a message has room for."""
    lines: list[str] = []
    for detail in details[:SHOWN_MISTAKES]:
        line = clipped(mask_urls_in(_describe(source, detail)), 400)
        if lines and len("\n".join([*lines, line])) > MESSAGE_LIMIT - 100:
            break
        lines.append(line)
    more = len(details) - len(lines)
    return "\n".join([*lines, f"… and {more} more."] if more else lines)


def _resolve_folder(source: Source) -> None:
    """Say where the user's module or data are, so that a run directory's copy of the study finds them too."""
    workload = source.data.get("workload")
    if isinstance(workload, dict) and any(workload.get(key) for key in ("train", "object", "path")):
        folder = workload.get("folder")
        if folder is None or isinstance(folder, str):
            source.data["workload"] = {**workload, "folder": str((source.folder / (folder or "")).resolve())}


def _resolve_sqlite(source: Source) -> None:
    """Make the path of a SQLite database absolute, so that a run directory's copy of the study finds it too."""
    engine = source.data.get("engine")
    if not isinstance(engine, dict) or not isinstance(engine.get("storage"), str):
        return
    if found := re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!/|:|file:)(.+)", engine["storage"]):
        source.data["engine"] = {**engine, "storage": f"{found[1]}{in_url(Path.cwd())}/{found[2]}"}


def in_url(path: Path) -> str:
    """A path as SQLAlchemy reads it in a URL, where ? and # begin other parts, and % an escape."""
    return str(path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def _override(source: Source, override: str, origin: str | None = None) -> None:
    origin_shown = origin or f"--set {clipped(mask_password(override), 100)}"
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"{origin_shown}: is no KEY=VALUE, e.g. --set training.epochs=15.")
    value = text if origin else parse_value(text, f"the value of --set {clipped(key, 100)}")
    node = source.data
    for depth, part in enumerate(path[:-1]):
        child = node.get(part)
        if child is None:
            child = {}
            source.places.setdefault(path[: depth + 1], origin_shown)
        elif not isinstance(child, dict):
            raise UserError(
                f"{origin_shown}: {clipped('.'.join(path[: depth + 1]), 100)} is no section of {source.name}."
            )
        # Copied, since an anchor may have given two sections one mapping.
        node[part] = dict(child)
        node = node[part]
    node[path[-1]] = value
    for known in [known for known in source.places if known[: len(path)] == path]:
        del source.places[known]
    source.places[path] = origin_shown


def _describe(source: Source, detail: ErrorDetails) -> str:
    """One mistake in one line: where, which key, what was found, what is allowed."""
    loc = _real_path(source.data, detail["loc"])
    context, kind = detail.get("ctx", {}), detail["type"]
    found = detail["input"]
    if kind == "epsearch":
        loc, problem = (*loc, *context["at"]), context["message"]
    elif kind == "extra_forbidden":
        problem = f"no such key. {_elsewhere(loc) or suggestion(loc[-1], _allowed_keys(loc[:-1]))}"
    elif kind == "missing":
        problem = f"this key is missing. {_description(loc)}"
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        problem = (
            f"found {shown(found)}, but this is a section of keys: {', '.join(_allowed_keys(loc))}.{hint(kind, found)}"
        )
    elif kind == "too_short":
        least = context["min_length"]
        problem = f"needs at least {least} value{'s' * (least > 1)}."
    else:
        expected = _EXPECTED.get(kind, "").format(**context, description=_description(loc).rstrip(".")) or detail["msg"]
        problem = f"expected {expected}, found {shown(found)}.{hint(kind, found)}"
    name = clipped(".".join(map(str, loc)), 100) or "the study"
    if name != mask_password(name):
        name = f"a key {NOT_SHOWN}"
    return f"{source.place(loc)}: {name if name.isprintable() else repr(name)}: {problem}"


_EXPECTED = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "list_type": "a list",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:.10g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:.10g}",
    "literal_error": "{expected}",
    "too_long": "at most {max_length} values",
    "string_pattern_mismatch": "{description}",
    "string_too_short": "text",
    "string_too_long": "at most {max_length} characters",
}


def _real_path(data: Any, loc: Sequence[str | int]) -> KeyPath:
    """The path in the file: pydantic's without the tags of the union members it passed."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(data, dict) and (part in data or (last and part not in ("bounds", "list", "keyword", "number"))):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif part in ("bounds", "list", "keyword", "number"):
            continue
        path.append(part)
    return tuple(path)


@functools.cache
def _schema() -> dict[str, Any]:
    """Pydantic takes 20 ms to make it, and one message looks into it some ten times."""
    return StudyConfig.model_json_schema()


def _section(path: KeyPath) -> dict[str, Any]:
    """The JSON Schema of the section at `path`."""
    schema = _schema()
    node: dict[str, Any] = schema
    for part in path:
        node = node.get("properties", {}).get(part, {})
        reference = next((choice["$ref"] for choice in _choices(node) if "$ref" in choice), None)
        if reference:
            node = {
                **schema["$defs"][reference.rsplit("/", 1)[1]],
                **{k: v for k, v in node.items() if k == "description"},
            }
    return node


def _choices(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and the alternatives in it."""
    yield node
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _choices(choice)


def _allowed_keys(path: KeyPath) -> list[str]:
    return list(_section(path).get("properties", {}))


def _elsewhere(loc: KeyPath) -> str:
    """Where a key belongs that was written in the wrong place, or ran into its value."""
    key = str(loc[-1])
    if ":" in key:
        return "YAML wants a space after the colon."
    homes = [f"{section}.{key}" for section in _allowed_keys(()) if key in _allowed_keys((section,))]
    return f"Did you mean {' or '.join(homes)}?" if homes else ""


def _description(path: KeyPath) -> str:
    return " ".join(str(_section(path).get("description", "")).split())


def to_yaml(config: StudyConfig) -> str:
    """The resolved study as YAML, every default written out and the storage's password masked."""
    data = config.model_dump()
    data["metric"]["goal"] = config.goal
    if data["engine"]["storage"]:
        data["engine"]["storage"] = mask_url(data["engine"]["storage"])
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Lists in one line, sections in blocks, and what readers of YAML 1.1 and of 1.2 take for the same."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    if value.is_integer() and abs(value) < 1e6:
        return dumper.represent_int(int(value))
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # 1e-05 is a string to YAML 1.1
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # A study named 1e-3 would read back as a number.
    style = "'" if value[:1] in "+-.0123456789" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)
