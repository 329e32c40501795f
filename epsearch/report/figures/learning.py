"""Learning curves: the metric over the epochs, one curve for each ε."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from epsearch.core.averages import mean
from epsearch.core.numbers import number, rounded
from epsearch.records.text import describe_cell, measured
from epsearch.records.trial import Goal, Trial
from epsearch.report.figures.baseline import BASELINE
from epsearch.report.figures.colors import BETTER
from epsearch.report.figures.style import ACCENT, GREY, LIGHT, TITLE_ROOM, shades
from epsearch.report.figures.text import plotly_text

MOST = 8
"""Most curves to draw; more are hard to distinguish."""


@dataclass(frozen=True)
class Curve:
    """One trial's metric after each epoch, averaged over the seeds that reached it."""

    trial: Trial
    values: tuple[float, ...]


@dataclass(frozen=True)
class LearningInfo:
    """Curves by ascending ε, including the best trial's, and the baseline's if there is one.

    With `points`, each curve is the best trial at its ε; otherwise they are the best trials of all.
    """

    curves: tuple[Curve, ...]
    best: Trial | None
    baseline: Curve | None
    points: bool
    metric: str
    goal: Goal


def learning_info(
    trials: Sequence[Trial], optimizer: str, *, goal: Goal, metric: str, points: bool = True
) -> LearningInfo:
    """Choose the curves: the best complete trials of `optimizer`, and the baseline's best.

    With `points`, at most one trial for each ε.
    """
    sign = -1 if goal == "maximize" else 1
    complete = sorted(
        (trial for trial in trials if trial.state == "complete" and trial.value is not None and trial.curves),
        key=lambda trial: (sign * (trial.value or 0.0), trial.number),
    )
    searched = [trial for trial in complete if trial.optimizer == optimizer]
    chosen: dict[float | int | None, Trial] = {}
    for trial in searched:
        chosen.setdefault(trial.eps if points else trial.number, trial)
    shown = sorted(list(chosen.values())[:MOST], key=lambda trial: trial.eps or 0.0)
    baseline = next((trial for trial in complete if trial.optimizer == BASELINE != optimizer), None)
    return LearningInfo(
        curves=tuple(_curve(trial) for trial in shown),
        best=next(iter(searched), None),
        baseline=_curve(baseline) if baseline is not None else None,
        points=points,
        metric=metric,
        goal=goal,
    )


def _curve(trial: Trial) -> Curve:
    epochs = itertools.zip_longest(*trial.curves)
    return Curve(trial, tuple(mean([value for value in values if value is not None]) for values in epochs))


def plot_learning(info: LearningInfo) -> go.Figure:
    """The curves, from dark to bright as ε grows, with the best one highlighted and the baseline dotted."""
    figure = go.Figure(layout={"template": LIGHT, "height": 440})
    for curve, color in zip(info.curves, shades(len(info.curves)), strict=True):
        best = curve.trial == info.best
        name = rounded("eps", curve.trial.eps) if curve.trial.eps is not None else ""
        line: dict[str, object] = {"color": ACCENT, "width": 3} if best else {"color": color}
        figure.add_trace(_line(curve, f"ε {name}{' (best)' if best else ''}", line, info.metric))
    if info.baseline is not None:
        line = {"color": GREY, "dash": "dot", "width": 2}
        figure.add_trace(_line(info.baseline, "SGD with momentum", line, info.metric))
    which = "the best trial at each ε" if info.points else f"the best {len(info.curves)} trials"
    if info.baseline is not None:
        which += " and the best of SGD with momentum"
    metric = plotly_text(info.metric)
    figure.update_layout(
        title={
            "text": f"Learning curves: {metric} ({BETTER[info.goal]})",
            "subtitle": {"text": f"{which}; best: {measured(info.best)}" if info.best else which},
        },
        yaxis={"title": {"text": metric}, **_scale(info)},
        xaxis={"title": {"text": "epochs trained"}, "rangemode": "tozero"},
        # Below the plot: a legend of many rows would cover the title.
        legend={"y": -0.22, "yanchor": "top"},
        margin={"t": TITLE_ROOM + 20},
    )
    return figure


def _line(curve: Curve, name: str, line: dict[str, object], metric: str) -> go.Scatter:
    few = len(curve.values) <= 40
    return go.Scatter(
        x=list(range(1, len(curve.values) + 1)),
        y=curve.values,
        mode="lines+markers" if few else "lines",
        line=line,
        name=name,
        hovertext=[
            f"{plotly_text(metric)} {number(value)} after epoch {epoch}<br>{describe_cell(curve.trial)}"
            for epoch, value in enumerate(curve.values, start=1)
        ],
        hoverinfo="text",
    )


def _scale(info: LearningInfo) -> dict[str, object]:
    """A log axis if values span a factor of 20, as perplexities do."""
    values = [value for curve in info.curves for value in curve.values]
    if min(values, default=0.0) > 0 and max(values) > 20 * min(values):
        return {"type": "log", "tickformat": "~g", "nticks": 6}
    return {}
