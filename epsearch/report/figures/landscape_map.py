"""The map on the first screen: cells of a grid, or points of a sampler, on linear axes of log10 lr and log10 ε."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import plotly.graph_objects as go

from epsearch.core.numbers import brief
from epsearch.report.analysis.cells import MapCell
from epsearch.report.figures.colors import text_color_at
from epsearch.report.figures.heatmap import HeatmapInfo, hover
from epsearch.report.figures.hover import hover_labels
from epsearch.report.figures.landscape import LandscapeInfo
from epsearch.report.figures.scale import Scale
from epsearch.report.figures.style import MARKS, marker

MOST_COLUMNS, MOST_ROWS = 15, 16
"""Cells in whose width and height three digits can be read."""

PALE, PALER = "rgba(128,128,128,0.25)", "rgba(128,128,128,0.1)"
"""Of cells that did not learn, and of those without a value; on white and on black."""

SIGN = "#808080"


def draw_map(info: LandscapeInfo) -> list[go.Heatmap | go.Scatter]:
    """The traces, on the axes x2 and y."""
    return list(_points(info) if info.cells is None else _cells(info, info.cells))


def reach_of_lr(info: LandscapeInfo) -> tuple[float, float]:
    """log10 of the ends of the map's lr."""
    if info.cells is not None:
        edges = edges_of_cells(info.cells.xs)
        return edges[0], edges[-1]
    logs = logs_of(point.trial.lr or 1.0 for point in info.points if point.trial is not None)
    return min(logs) - 0.15, max(logs) + 0.15


def logs_of(values: Iterable[float]) -> list[float]:
    """log10 of each value, to the four digits that a figure needs."""
    return [round(math.log10(value), 4) for value in values]


def edges_of_cells(values: Sequence[float]) -> list[float]:
    """The edges of the cells around each of `values`, in log10: halfway to the next one."""
    logs = logs_of(values)
    between = [(low + high) / 2 for low, high in itertools.pairwise(logs)]
    first = logs[0] - (between[0] - logs[0] if between else 0.5)
    last = logs[-1] + (logs[-1] - between[-1] if between else 0.5)
    return [first, *between, last]


def _points(info: LandscapeInfo) -> Iterator[go.Scatter]:
    """The trials: with the mark of their state, grey if they did not learn, or colored, the best on top."""
    for state, mark in MARKS.items():
        if some := [point for point in info.points if point.state == state]:
            yield _trials(info, some, {**marker(mark), "size": 8})
    scale = info.scale
    if scale is None:
        return
    valued = [(scale.place(point.value), point) for point in info.points if point.value is not None]
    ordered = [point for _, point in sorted(valued, key=lambda pair: pair[0])]
    learned = [point for point in ordered if scale.learns(point.value or 0.0)]
    if dull := [point for point in ordered if not scale.learns(point.value or 0.0)]:
        yield _trials(info, dull, {"size": 11, "color": PALE})
    colors = [_color(scale, point.value or 0.0) for point in learned]
    line = {"color": SIGN, "width": 1}
    yield _trials(info, learned, {"size": 13, "color": colors, "coloraxis": "coloraxis", "line": line})


def _trials(info: LandscapeInfo, points: Sequence[MapCell], look: dict[str, Any]) -> go.Scatter:
    trials = [point.trial for point in points if point.trial is not None]
    return go.Scatter(
        x=logs_of(trial.lr or 1.0 for trial in trials),
        y=logs_of(trial.eps or 1.0 for trial in trials),
        xaxis="x2",
        mode="markers",
        marker=look,
        hovertext=hover_labels(points, info.metric),
        hoverinfo="text",
    )


def _color(scale: Scale, value: float) -> float:
    return round(min(max(scale.place(value), 0.0), 1.0), 4)


def _cells(info: LandscapeInfo, cells: HeatmapInfo) -> Iterator[go.Heatmap]:
    """Complete cells in their colors, one trace for each color of text; then pale ones and those without a value."""
    common = {
        "x": edges_of_cells(cells.xs),
        "y": edges_of_cells(cells.ys),
        "xaxis": "x2",
        "xgap": 1,
        "ygap": 1,
        "hovertext": [[hover(cells, i, j, cell) for j, cell in enumerate(row)] for i, row in enumerate(cells.rows)],
        "hoverinfo": "text",
        "hoverongaps": False,
    }
    readable = len(cells.xs) <= MOST_COLUMNS and len(cells.ys) <= MOST_ROWS
    scale = info.scale
    if scale is not None:
        for ink in ("#000000", "#ffffff"):
            z = [[_color_under(ink, scale, cell.value) for cell in row] for row in cells.rows]
            if not any(color is not None for row in z for color in row):
                continue
            text = [
                ["" if color is None else brief(cell.value or 0.0) for color, cell in zip(colors, row, strict=True)]
                for colors, row in zip(z, cells.rows, strict=True)
            ]
            words = {"text": text, "texttemplate": "%{text}", "textfont": {"color": ink, "size": 12}}
            yield go.Heatmap(z=z, coloraxis="coloraxis", **(words if readable else {}), **common)
        yield from _flat(cells, lambda cell: cell.value is not None and not scale.learns(cell.value), PALE, "", common)
    for state, mark in MARKS.items():
        yield from _flat(
            cells,
            lambda cell, state=state: cell.state == state and cell.trial is not None,  # type: ignore[misc]
            PALER,
            mark.sign,
            common,
        )


def _flat(
    cells: HeatmapInfo, wanted: Callable[[MapCell], bool], fill: str, sign: str, common: dict[str, Any]
) -> Iterator[go.Heatmap]:
    """The wanted cells in one color, with a sign; nothing if there are none."""
    there = [[wanted(cell) for cell in row] for row in cells.rows]
    if any(map(any, there)):
        yield go.Heatmap(
            z=[[1 if each else None for each in row] for row in there],
            text=[[sign if each else "" for each in row] for row in there],
            texttemplate="%{text}",
            textfont={"color": SIGN, "size": 13},
            colorscale=[[0, fill], [1, fill]],
            showscale=False,
            **common,
        )


def _color_under(ink: str, scale: Scale, value: float | None) -> float | None:
    """The color of a value on which text is in this ink; None on others, and if it did not learn."""
    if value is None or not scale.learns(value):
        return None
    color = _color(scale, value)
    return color if text_color_at(color) == ink else None
