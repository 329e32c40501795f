"""The pages' templates: Jinja2, which escapes every value that is not marked as HTML."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

FOLDER = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """The template of this name as HTML; strings among `values` are escaped."""
    return _environment().get_template(template).render(**values)


def asset(name: str) -> Markup:
    """A style sheet or script, to be put into a page as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["table_rows"] = _table_rows
    environment.filters["unbroken"] = _unbroken
    return environment


def _table_rows(rows: Iterable[Sequence[str]], text: Collection[int]) -> Markup:
    """Rows of a table, their fields escaped. As a loop in a template, 100,000 fields take six times as long."""
    kinds: list[str] = []
    lines = []
    for row in rows:
        kinds = kinds or [' class="text"' if index in text else "" for index in range(len(row))]
        fields = (f"<td{kind}>{html.escape(field)}</td>" for kind, field in zip(kinds, row, strict=True))
        lines.append(f"<tr>{''.join(fields)}</tr>")
    return Markup("".join(lines))


def _unbroken(text: str) -> Markup:
    """No line break inside 1e-2, which a browser would make after the hyphen."""
    return Markup(re.sub(r"\d[\d.]*e-\d+", r"<span>\g<0></span>", str(escape(text))))
