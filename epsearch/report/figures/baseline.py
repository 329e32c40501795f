"""The non-adaptive baseline, SGD with momentum, over the learning rate (Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from epsearch.core.numbers import number
from epsearch.records.trial import Goal, Trial, best_trial
from epsearch.report.analysis.cells import MapCell, cell_of
from epsearch.report.figures.axes import log_axis
from epsearch.report.figures.colors import BETTER
from epsearch.report.figures.floor import draw_without_value
from epsearch.report.figures.hover import hover_labels
from epsearch.report.figures.style import ACCENT, BLUE, LIGHT, headline
from epsearch.report.figures.text import plotly_text

BASELINE = "sgd_momentum"


@dataclass(frozen=True)
class CurveInfo:
    """The cell at each of `lrs` (ascending) and the best complete trial.

    `reference` is the best value of the adaptive optimizer, None if there is none.
    """

    lrs: tuple[float, ...]
    cells: tuple[MapCell, ...]
    metric: str
    goal: Goal
    best: Trial | None
    reference: float | None


def curve_info(trials: Sequence[Trial], *, goal: Goal, metric: str, reference: float | None = None) -> CurveInfo:
    """Sort the baseline's trials by learning rate; trials of other optimizers are ignored."""
    places: dict[float, list[Trial]] = {}
    for trial in trials:
        if trial.optimizer == BASELINE and trial.lr is not None:
            places.setdefault(trial.lr, []).append(trial)
    lrs = tuple(sorted(places))
    cells = tuple(cell_of(places[lr], goal) for lr in lrs)
    complete = [cell.trial for cell in cells if cell.trial is not None and cell.value is not None]
    return CurveInfo(lrs, cells, metric, goal, best_trial(complete, goal), reference)


def plot_curve(info: CurveInfo) -> go.Figure:
    """The curve, bars of one standard deviation over seeds, and a line at the adaptive optimizer's best."""
    figure = go.Figure(layout={"template": LIGHT, "height": 420})
    places = list(zip(info.lrs, info.cells, strict=True))
    done = [(lr, cell) for lr, cell in places if cell.value is not None]
    figure.add_trace(
        go.Scatter(
            x=[lr for lr, _ in done],
            y=[cell.value for _, cell in done],
            error_y={"array": [cell.trial.spread or 0 for _, cell in done if cell.trial is not None]},
            mode="lines+markers",
            line={"color": BLUE},
            marker={"size": 9},
            name="SGD with momentum",
            hovertext=hover_labels((cell for _, cell in done), info.metric),
            hoverinfo="text",
        )
    )
    if info.best is not None:
        figure.add_trace(
            go.Scatter(
                x=[info.best.lr],
                y=[info.best.value],
                mode="markers",
                marker={"size": 18, "symbol": "circle-open", "color": ACCENT, "line": {"width": 3}},
                name="its best",
                hoverinfo="skip",
            )
        )
    if info.reference is not None:
        figure.add_trace(
            go.Scatter(
                x=[info.lrs[0], info.lrs[-1]],
                y=[info.reference] * 2,
                mode="lines",
                line={"color": ACCENT, "dash": "dash"},
                name=f"adaptive best: {number(info.reference)}",
                hoverinfo="skip",
            )
        )
    draw_without_value(figure, places, info.metric)
    metric = plotly_text(info.metric)
    figure.update_layout(
        title=headline(f"{metric} of SGD with momentum over α ({BETTER[info.goal]})", info.best, "ringed"),
        yaxis={"title": {"text": metric}},
    )
    figure.update_xaxes(**log_axis("lr", info.lrs))
    return figure
