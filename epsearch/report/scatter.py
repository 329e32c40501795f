"""Performance over two hyperparameters drawn from intervals: where no two trials share a cell, points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from epsearch.labels import SYMBOLS, plotly_text
from epsearch.records import Goal, Trial, best_trial
from epsearch.report.axes import log_axis, log_position
from epsearch.report.cells import Cell, cell_of
from epsearch.report.colours import BETTER, Colours, colour_axis, colours_of
from epsearch.report.heatmap import describe
from epsearch.report.style import ACCENT, LIGHT, MARKS, headline, marker


@dataclass(frozen=True)
class ScatterInfo:
    """What the points show: one cell for each trial that has an x and a y, and the best complete trial."""

    x: str
    y: str
    points: tuple[Cell, ...]
    metric: str
    goal: Goal
    best: Trial | None
    colours: Colours | None


def scatter_info(trials: Sequence[Trial], x: str, y: str, *, goal: Goal, metric: str) -> ScatterInfo:
    """One point for each trial of one arm, in any state; arguments as for `heatmap_info`."""
    points = tuple(cell_of([trial], goal) for trial in trials if x in trial.cell and y in trial.cell)
    complete = [point.trial for point in points if point.trial is not None and point.value is not None]
    return ScatterInfo(
        x=x,
        y=y,
        points=points,
        metric=metric,
        goal=goal,
        best=best_trial(complete, goal),
        colours=colours_of([point.value for point in points if point.value is not None], goal),
    )


def plot_scatter(info: ScatterInfo) -> go.Figure:
    """The points over log axes, coloured by value, the best ringed, other states by their own signs."""
    figure = go.Figure(layout={"template": LIGHT, "height": 600})
    if info.colours is not None:
        done = [point for point in info.points if point.state == "complete"]
        figure.add_trace(
            _points(info, done, {"size": 12, "color": [point.value for point in done], "coloraxis": "coloraxis"})
        )
        figure.update_layout(coloraxis=colour_axis(info.colours), margin={"b": 115})
    for state, mark in MARKS.items():
        if some := [point for point in info.points if point.state == state]:
            figure.add_trace(_points(info, some, marker(mark)).update(name=mark.word, showlegend=True))
    if info.best is not None:
        ring = {"size": 20, "symbol": "circle-open", "color": ACCENT, "line": {"width": 3}}
        figure.add_trace(_points(info, [cell_of([info.best], info.goal)], ring).update(hoverinfo="skip"))
    over = f"{plotly_text(info.metric)} over {SYMBOLS[info.x]} and {SYMBOLS[info.y]} ({BETTER[info.goal]})"
    figure.update_layout(title=headline(over, info.best, "ringed"))
    figure.update_xaxes(**log_axis(info.x))
    figure.update_yaxes(**log_axis(info.y))
    return figure


def _points(info: ScatterInfo, points: Sequence[Cell], look: dict[str, object]) -> go.Scatter:
    trials = [point.trial for point in points if point.trial is not None]
    return go.Scatter(
        x=[log_position(info.x, trial.cell[info.x]) for trial in trials],
        y=[log_position(info.y, trial.cell[info.y]) for trial in trials],
        mode="markers",
        marker=look,
        hovertext=["<br>".join(describe(point, info.metric, shown=())) for point in points],
        hoverinfo="text",
        showlegend=False,
    )
