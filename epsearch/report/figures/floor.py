"""Markers for trials without a value, along the bottom of a figure, one symbol for each state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from epsearch.report.analysis.cells import CellState, MapCell
from epsearch.report.figures.hover import hover_labels
from epsearch.report.figures.style import MARKS, marker


def draw_without_value(
    figure: go.Figure,
    places: Sequence[tuple[float, MapCell]],
    metric: str,
    words: Mapping[CellState, str] | None = None,
) -> None:
    """Draw the cells that are not complete, at their x positions, on a second y axis.

    `words` overrides the names of states in `MARKS`.
    """
    for state, mark in MARKS.items():
        if some := [(x, cell) for x, cell in places if cell.state == state]:
            figure.add_trace(
                go.Scatter(
                    x=[x for x, _ in some],
                    y=[0.04] * len(some),
                    yaxis="y2",
                    mode="markers",
                    marker=marker(mark),
                    name=(words or {}).get(state, mark.word),
                    hovertext=hover_labels((cell for _, cell in some), metric),
                    hoverinfo="text",
                )
            )
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
