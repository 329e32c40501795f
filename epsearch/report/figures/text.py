"""Escapes text from users for Plotly."""

from __future__ import annotations

import html

from epsearch.core.messages import one_line


def plotly_text(text: str, limit: int = 60) -> str:
    """Text from a user, escaped for a figure: Plotly reads `<b>` and `<a href>` as markup."""
    return html.escape(one_line(text, limit), quote=False)
