"""Trials in the order in which they started, and the best so far: whether the search was still improving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from epsearch.core.numbers import count, number
from epsearch.records.trial import Goal, Trial
from epsearch.report.analysis.cells import MapCell, cell_of
from epsearch.report.figures.colors import BETTER, colors_of
from epsearch.report.figures.floor import draw_without_value
from epsearch.report.figures.hover import hover_labels
from epsearch.report.figures.style import ACCENT, BLUE, LIGHT
from epsearch.report.figures.text import plotly_text


@dataclass(frozen=True)
class TimelineInfo:
    """A cell for each trial, by number.

    `best` is the best value after each of them, None before the first complete one; `improved` lists the trials that
    improved it. `axis` holds the ends of the value axis, None if no trial is complete; outliers lie beyond it, so that
    one perplexity of 2000 does not flatten all the others.
    """

    trials: tuple[MapCell, ...]
    best: tuple[float | None, ...]
    improved: tuple[int, ...]
    axis: tuple[float, float] | None
    metric: str
    goal: Goal


def timeline_info(trials: Sequence[Trial], *, goal: Goal, metric: str) -> TimelineInfo:
    """From the trials of one optimizer in any state; waiting ones are left out."""
    begun = sorted((trial for trial in trials if trial.state != "waiting"), key=lambda trial: trial.number)
    cells = tuple(cell_of([trial], goal) for trial in begun)
    sign = 1 if goal == "maximize" else -1
    best: list[float | None] = []
    improved = []
    for trial, cell in zip(begun, cells, strict=True):
        so_far = best[-1] if best else None
        if cell.value is not None and (so_far is None or sign * cell.value > sign * so_far):
            so_far = cell.value
            improved.append(trial.number)
        best.append(so_far)
    colors = colors_of([cell.value for cell in cells if cell.value is not None], goal)
    axis = (colors.low, colors.high) if colors is not None else None
    return TimelineInfo(cells, tuple(best), tuple(improved), axis, metric, goal)


def plot_timeline(info: TimelineInfo) -> go.Figure:
    """Points for complete trials, a stepped line for the best so far, other states along the bottom."""
    figure = go.Figure(layout={"template": LIGHT, "height": 420})
    places = [(cell.trial.number, cell) for cell in info.trials if cell.trial is not None]
    if info.axis is not None:
        low, high = info.axis
        done = [(at, cell) for at, cell in places if cell.value is not None]
        figure.add_trace(
            go.Scatter(
                x=[at for at, _ in done],
                # Values beyond the axis are drawn at its edge; their hover labels show them.
                y=[min(max(cell.value or 0.0, low), high) for _, cell in done],
                cliponaxis=False,
                mode="markers",
                marker={"color": BLUE, "size": 7, "opacity": 0.7},
                name="complete",
                hovertext=hover_labels((cell for _, cell in done), info.metric),
                hoverinfo="text",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[at for at, _ in places],
                y=info.best,
                mode="lines",
                line={"color": ACCENT, "shape": "hv", "width": 2},
                name="best so far",
                hoverinfo="skip",
            )
        )
        room = 0.05 * high - 0.05 * low or 0.05 * abs(high) or 1.0
        figure.update_layout(yaxis={"range": [low - 2 * room, high + room]})
    draw_without_value(figure, places, info.metric, words={"missing": "running"})
    metric = plotly_text(info.metric)
    figure.update_layout(
        title={
            "text": f"Trials in order: {metric} ({BETTER[info.goal]})",
            "subtitle": {"text": _caption(info)},
        },
        xaxis={"title": {"text": "trial"}},
        yaxis={"title": {"text": metric}},
    )
    return figure


def _caption(info: TimelineInfo) -> str:
    if not info.improved:
        return "no complete trial yet"
    last, best = info.improved[-1], info.best[-1]
    later = sum(cell.trial is not None and cell.trial.number > last for cell in info.trials)
    assert best is not None, "a trial improved it"
    assert info.axis is not None, "a trial is complete"
    low, high = info.axis
    clipped = sum(cell.value is not None and not low <= cell.value <= high for cell in info.trials)
    edge = f"; {count(clipped, 'worse value')} drawn at the edge" if clipped else ""
    since = f"{count(later, 'later trial')} did not improve it" if later else "the last trial"
    return f"best {number(best)} (trial {last}); {since}{edge}"
