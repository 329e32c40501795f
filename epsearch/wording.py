"""How messages repeat what a user wrote: in one line, at no length, with no password, with the nearest name
and the remedy."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable


def mask_password(url: str) -> str:
    """A storage URL with its password replaced by `***`, for everything that is printed or saved."""
    return re.sub(r"(?<=[?&]password=)[^&\s]*", "***", re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url))


MESSAGE_LIMIT = 1000
"""Characters of a message, at most."""


def clipped(text: str, limit: int = 200) -> str:
    """A text without its middle where it is longer than `limit`: the end of a path or a message tells most."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def shown(value: object) -> str:
    """A value of the file as a message repeats it: in one line, and not at any length."""
    if value is None:
        return "an empty value"
    text = repr(value).lower() if isinstance(value, bool) else repr(_beginning(value))
    text = mask_password(text)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _beginning(value: object) -> object:
    """Enough of a value to show it: a text of a megabyte takes long to print and to search."""
    if isinstance(value, str):
        return value[:1000]
    if isinstance(value, list):
        return [_beginning(each) for each in value[:30]]
    if isinstance(value, dict):
        return {_beginning(key): _beginning(each) for key, each in list(value.items())[:30]}
    return value


def suggestion(found: object, allowed: Iterable[str]) -> str:
    """`Did you mean "adam"? There are: …` for a misspelt name."""
    names = list(allowed)
    near = difflib.get_close_matches(str(found)[:100], names, n=1, cutoff=0.6)
    there = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return (f'Did you mean "{near[0]}"? ' if near else "") + f"There are: {there}."


def hint(kind: str, found: object) -> str:
    """The remedy for a value of the wrong type, where it can be read off the value."""
    if found is None:
        return " Write a value, or remove the key."
    if kind == "string_type" and isinstance(found, int | float):
        return f' Write "{found}" in quotes.'
    if kind == "list_type" and isinstance(found, str | int | float):
        return f" Write [{found}]." if len(str(found)) < 60 else ""
    if kind not in ("float_type", "int_type", "int_from_float") or not isinstance(found, str | float):
        return ""
    # A number that YAML read as text: quoted, 1_000, 0,001 …; or one written with a point.
    try:
        value = float(str(found).replace(",", "."))
    except ValueError:
        return ""
    if not math.isfinite(value) or (kind != "float_type" and not value.is_integer()):
        return ""
    return f" Write {value:.15g}{' without quotes' * isinstance(found, str)}."
