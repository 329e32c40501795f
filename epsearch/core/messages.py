"""Quote user input in messages: on one line, shortened, without passwords, with the nearest valid name and a fix."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence

NOT_SHOWN = "(not shown: it may hold a password)"
"""Replaces a text whose password cannot be located."""

_PLAIN_QUERY = re.compile(
    "application_name|cache|channel_binding|charset|client_encoding|connect_timeout|dbname|driver|gssencmode|host|"
    "hostaddr|mode|options|passfile|port|read_timeout|service|ssl_ca|ssl_cert|ssl_key|sslcert|sslkey|sslmode|"
    "sslrootcert|target_session_attrs|timeout|unix_socket|uri|user|write_timeout"
)
"""Parameters of a database URL whose values are shown. All others are hidden, in case one is misspelled."""

_SECRET_NAME = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
_PERHAPS_SECRET = re.compile(r"://|(//|:).*@|(pass|pwd|secret|token)\w*(=|'?: )", re.IGNORECASE)


def mask_url(url: str) -> str:
    """A database URL with its passwords replaced by `***`, to print or save.

    The whole URL is hidden if SQLAlchemy cannot parse it, or if parts of the password may be elsewhere in it, such as
    after an unescaped `@`.
    """
    from sqlalchemy.engine import make_url

    try:
        parsed = make_url(url)
    except Exception:
        return NOT_SHOWN
    # SQLite paths may contain @; in other URLs it comes from a password that was split.
    database = "" if parsed.drivername.startswith("sqlite") else parsed.database or ""
    misplaced = "@" in (parsed.host or "") + database
    if misplaced or not re.fullmatch(r"[\w.@+\\ -]*", parsed.username or ""):
        return NOT_SHOWN
    query = {key: value if _PLAIN_QUERY.fullmatch(key) else "***" for key, value in parsed.query.items()}
    if parsed.password is None and query == dict(parsed.query):
        return url
    # SQLAlchemy percent-encodes the asterisks.
    return parsed.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def mask_password(text: str) -> str:
    """A value, or a `key=value` setting, with its passwords masked."""
    key, equals, value = text.partition("=")
    if equals and re.fullmatch(r"[\w.]+", key):
        masked = "***" if _SECRET_NAME.search(key) else mask_url(value) if key.endswith("storage") else None
        return f"{key}={mask_password(value) if masked is None else masked}"
    return mask_url(text) if _PERHAPS_SECRET.search(text) else text


def mask_urls_in(text: str) -> str:
    """Lines of text, such as a study file, with the passwords in URLs masked."""
    masked = re.sub(r"(?<=://)([^:/\s]*):.*@", r"\1:***@", text)
    return re.sub(r"(?<=[?&])(\w*(?:pass|pwd|secret|token)\w*)=[^&\s]*", r"\1=***", masked, flags=re.IGNORECASE)


MESSAGE_LIMIT = 1000
"""Maximum number of characters of a message."""


def clipped(text: str, limit: int = 200) -> str:
    """A text of at most `limit` characters, shortened in the middle: the end of a path or message matters most."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def shown(value: object) -> str:
    """A value of the study file as quoted in a message: on one line, shortened, without passwords."""
    if value is None:
        return "an empty value"
    text = repr(value).lower() if isinstance(value, bool) else repr(_beginning(value))
    if (bare := text.strip("'")) != mask_password(bare):
        return f"a text {NOT_SHOWN}"
    return text if len(text) <= 60 else f"{text[:59]}…"


def one_line(text: object, limit: int = 300) -> str:
    """A text, or an error's, on one line of at most `limit` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _beginning(value: object) -> object:
    """The beginning of a value, since printing and searching a megabyte of text is slow."""
    if isinstance(value, str):
        return value[:1000]
    if isinstance(value, list):
        return [_beginning(each) for each in value[:30]]
    if isinstance(value, dict):
        return {_beginning(key): _beginning(each) for key, each in list(value.items())[:30]}
    return value


def suggestion(found: object, allowed: Iterable[str]) -> str:
    """`Did you mean "adam"? Choose from: …` for a misspelled name."""
    names = list(allowed)
    near = difflib.get_close_matches(str(found)[:100], names, n=1, cutoff=0.6)
    there = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return (f'Did you mean "{near[0]}"? ' if near else "") + f"Choose from: {there}."


def hint(kind: str, found: object) -> str:
    """A fix for a value of the wrong type, if the value suggests one."""
    if found is None:
        return " Write a value, or remove the key."
    if kind == "string_type" and isinstance(found, int | float):
        return f' Write "{found}" in quotes.'
    if kind == "list_type" and isinstance(found, str | int | float):
        # YAML takes the asterisk of a pattern for an alias.
        item = found if re.fullmatch(r"[\w.+-]+", str(found)) else f'"{found}"'
        return f" Write [{item}]." if len(str(found)) < 60 else ""
    if kind not in ("float_type", "int_type", "int_from_float") or not isinstance(found, str | float):
        return ""
    # A number that YAML reads as text (quoted, 1_000, 0,001 …), or a float where an integer is needed.
    try:
        value = float(str(found).replace(",", "."))
    except ValueError:
        return ""
    if not math.isfinite(value) or (kind != "float_type" and not value.is_integer()):
        return ""
    return f" Write {value:.15g}{' without quotes' * isinstance(found, str)}."
