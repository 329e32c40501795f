"""The style of all figures: two Plotly templates, and the marks of states without a value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from epsearch.records.text import describe_cell, measured
from epsearch.records.trial import Trial
from epsearch.report.analysis.cells import CellState

BLUE = "#4c78a8"
ACCENT = "#e6007e"
"""For the best trial and ε: distinct from every color of Viridis, on white and on black."""

GREY = "#8b949e"
"""For secondary elements, on white and on black."""

INK = "#1f2328"
"""Text on white, and on `GREY`."""


TITLE_ROOM = 60
"""Height in pixels of a figure's title; the page shows the title outside the figure, as text that wraps."""


class Mark(NamedTuple):
    """The mark of a state without a value, named `word`.

    In a cell: `sign` in `ink` on `fill`. As a point: Plotly's marker `symbol` in `line`.
    """

    sign: str
    fill: str
    ink: str
    symbol: str
    line: str
    word: str


MARKS: dict[CellState, Mark] = {
    "pruned": Mark("–", GREY, INK, "line-ew-open", GREY, "pruned"),
    "diverged": Mark("×", "#b3362d", "#ffffff", "x-thin-open", "#b3362d", "diverged"),
    "failed": Mark("!", "#8a5a2b", "#ffffff", "triangle-up-open", "#8a5a2b", "failed otherwise"),
    "missing": Mark("·", "rgba(128,128,128,0.18)", "#808080", "circle-open", "#808080", "not run yet"),
}


def _template(ink: str, line: str, paper: str) -> go.layout.Template:
    axis = {
        "gridcolor": line,
        "linecolor": line,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 10},
    }
    return go.layout.Template(
        layout={
            "font": {"color": ink, "family": "system-ui, 'Segoe UI', Roboto, sans-serif", "size": 13},
            "paper_bgcolor": paper,
            "plot_bgcolor": "rgba(0,0,0,0)",
            "title": {"x": 0, "xref": "paper", "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"t": 16}},
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {"align": "left"},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": line, "activecolor": ink},
            # Above the plot: at its side it would take half of a phone's width.
            "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
            "margin": {"l": 10, "r": 10, "t": TITLE_ROOM + 60, "b": 10},
        }
    )


LIGHT = _template(ink=INK, line="#d8dee4", paper="#ffffff")
DARK = _template(ink="#e6edf3", line="#3d444d", paper="rgba(0,0,0,0)")


def shades(how_many: int) -> list[str]:
    """Colors of Viridis from dark to bright, without its ends, which vanish on black or white."""
    colors: list[str] = sample_colorscale("Viridis", np.linspace(0.2, 0.85, how_many).tolist())
    return colors


def marker(mark: Mark) -> dict[str, object]:
    """The Plotly marker of a state without a value."""
    return {"size": 10, "symbol": mark.symbol, "color": mark.line, "line": {"width": 2}}


def headline(text: str, best: Trial | None, marked: str, more: str = "") -> dict[str, object]:
    """A figure's title (`text` must be escaped), with the best trial and how it is `marked` as subtitle."""
    found = f"best ({marked}): {measured(best)} at {describe_cell(best)}{more}" if best else "no complete trial yet"
    return {"text": text, "subtitle": {"text": found}}
