"""User-given text as Plotly shows it."""

from __future__ import annotations

import html

from epsearch.core.messages import one_line


def plotly_text(text: str, limit: int = 60) -> str:
    """User-given text for a figure, where Plotly would read `<b>` or `<a href>` as markup."""
    return html.escape(one_line(text, limit), quote=False)
