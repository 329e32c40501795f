"""The look that all figures share: two Plotly templates, and how each state of a cell is told apart."""

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
"""Outlines the best and draws ε: told from every color of Viridis, on white and on black."""

GREY = "#8b949e"
"""What is beside the point, on white and on black."""

INK = "#1f2328"
"""Text on white, and on `GREY`."""


TITLE_ROOM = 60
"""Pixels that the title takes of a figure's height; the page shows it outside, as text that wraps."""


class Mark(NamedTuple):
    """How a state without a value is shown.

    In a cell: `sign` in `ink` on `fill`. As a point: Plotly's marker `symbol` in `line`. Named `word`.
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
            # Above the plot: beside it, it would take half of a phone's width.
            "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
            "margin": {"l": 10, "r": 10, "t": TITLE_ROOM + 60, "b": 10},
        }
    )


LIGHT = _template(ink=INK, line="#d8dee4", paper="#ffffff")
DARK = _template(ink="#e6edf3", line="#3d444d", paper="rgba(0,0,0,0)")


def shades(how_many: int) -> list[str]:
    """So many colors of Viridis from dark to bright, less its ends: one is lost on black, the other on white."""
    colors: list[str] = sample_colorscale("Viridis", np.linspace(0.2, 0.85, how_many).tolist())
    return colors


def marker(mark: Mark) -> dict[str, object]:
    """The marker of a point in a state that has no value."""
    return {"size": 10, "symbol": mark.symbol, "color": mark.line, "line": {"width": 2}}


def headline(text: str, best: Trial | None, marked: str, more: str = "") -> dict[str, object]:
    """A figure's title (`text` is escaped already), and below it the best trial and how it is `marked`."""
    found = f"best ({marked}): {measured(best)} at {describe_cell(best)}{more}" if best else "no complete trial yet"
    return {"text": text, "subtitle": {"text": found}}
