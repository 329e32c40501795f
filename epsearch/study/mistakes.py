"""The error message for an invalid study file: one line per mistake."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from epsearch.core.messages import (
    MESSAGE_LIMIT,
    NOT_SHOWN,
    clipped,
    hint,
    mask_password,
    mask_urls_in,
    shown,
    suggestion,
)
from epsearch.study.config import StudyConfig
from epsearch.study.yaml import KeyPath, Source

SHOWN_MISTAKES = 10


def describe_mistakes(source: Source, details: Sequence[ErrorDetails]) -> str:
    """One line per mistake: the first ten, or as many as fit in a message."""
    lines: list[str] = []
    for detail in details[:SHOWN_MISTAKES]:
        line = clipped(mask_urls_in(_describe(source, detail)), 400)
        if lines and len("\n".join([*lines, line])) > MESSAGE_LIMIT - 100:
            break
        lines.append(line)
    more = len(details) - len(lines)
    return "\n".join([*lines, f"… and {more} more."] if more else lines)


def _describe(source: Source, detail: ErrorDetails) -> str:
    """One mistake on one line: where, which key, the value, what is allowed."""
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
        keys = ", ".join(_allowed_keys(loc))
        problem = f"found {shown(found)}, expected a section with the keys {keys}.{hint(kind, found)}"
    elif kind == "too_short":
        least = context["min_length"]
        problem = f"needs at least {least} value{'s' * (least > 1)}."
    else:
        expected = _EXPECTED.get(kind, "").format(**context, description=_description(loc).rstrip(".")) or detail["msg"]
        problem = f"expected {expected}, found {shown(found)}.{hint(kind, found)}"
    name = clipped(".".join(map(str, loc)), 100) or "the study"
    if name != mask_password(name):
        name = f"a key {NOT_SHOWN}"
    return f"{source.origin(loc)}: {name if name.isprintable() else repr(name)}: {problem}"


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
    """Pydantic's path without the tags of union members."""
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
    """The JSON Schema, cached because Pydantic takes 20 ms."""
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
    """A schema and its alternatives."""
    yield node
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _choices(choice)


def _allowed_keys(path: KeyPath) -> list[str]:
    return list(_section(path).get("properties", {}))


def _elsewhere(loc: KeyPath) -> str:
    """A hint for a key in the wrong section, or without a space after its colon."""
    key = str(loc[-1])
    if ":" in key:
        return "YAML needs a space after the colon."
    homes = [f"{section}.{key}" for section in _allowed_keys(()) if key in _allowed_keys((section,))]
    return f"Did you mean {' or '.join(homes)}?" if homes else ""


def _description(path: KeyPath) -> str:
    return " ".join(str(_section(path).get("description", "")).split())
