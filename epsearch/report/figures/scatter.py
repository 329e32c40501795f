"""Performance over two hyperparameters drawn from intervals: points over an interpolated surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from epsearch.core.numbers import SYMBOLS
from epsearch.records.ridge import Ridge
from epsearch.records.trial import Goal, Trial, best_trial
from epsearch.report.analysis.cells import MapCell, cell_of
from epsearch.report.figures.axes import log_axis, log_position
from epsearch.report.figures.colors import BETTER, Colors, color_axis, colors_of
from epsearch.report.figures.hover import hover_labels
from epsearch.report.figures.style import ACCENT, LIGHT, MARKS, headline, marker
from epsearch.report.figures.text import plotly_text

STEPS = 60
"""Points of the surface along each axis."""


@dataclass(frozen=True)
class Surface:
    """Interpolated values: `values[i, j]` at ys[i], xs[j] (positions on the log axes), NaN outside the trials."""

    xs: npt.NDArray[np.float64]
    ys: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScatterInfo:
    """One cell for each trial that has an x and a y, and the best complete trial.

    `surface` interpolates the complete trials; None if they span no area. `ridge` are points (lr, ε) of the expected
    best lr, empty if it is unknown.
    """

    x: str
    y: str
    points: tuple[MapCell, ...]
    metric: str
    goal: Goal
    best: Trial | None
    colors: Colors | None
    surface: Surface | None
    ridge: tuple[tuple[float, float], ...] = ()


def scatter_info(
    trials: Sequence[Trial], x: str, y: str, *, goal: Goal, metric: str, ridge: Ridge | None = None
) -> ScatterInfo:
    """One point for each trial, in any state; arguments as for `heatmap_info`."""
    points = tuple(cell_of([trial], goal) for trial in trials if x in trial.cell and y in trial.cell)
    complete = [point.trial for point in points if point.trial is not None and point.value is not None]
    return ScatterInfo(
        x=x,
        y=y,
        points=points,
        metric=metric,
        goal=goal,
        best=best_trial(complete, goal),
        colors=colors_of([point.value for point in points if point.value is not None], goal),
        surface=_surface(complete, x, y),
        ridge=_ridge(points, ridge) if ridge is not None and (x, y) == ("lr", "eps") else (),
    )


def _ridge(points: Sequence[MapCell], ridge: Ridge) -> tuple[tuple[float, float], ...]:
    """The expected best lr at `STEPS` values of ε, over those that were tried."""
    logs = [math.log10(trial.eps) for point in points for trial in point.trials if trial.eps]
    found = (10 ** np.linspace(min(logs), max(logs), STEPS)).tolist() if logs else []
    return tuple((ridge.lr(eps), eps) for eps in found)


def _surface(trials: Sequence[Trial], x: str, y: str) -> Surface | None:
    """Interpolate linearly between neighboring trials, in the logarithms, without extrapolating."""
    places = np.array([[math.log10(log_position(name, trial.cell[name])) for name in (x, y)] for trial in trials])
    if len(places) < 4:
        return None
    # Importing SciPy takes half a second.
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import QhullError

    values = np.array([trial.value for trial in trials])
    try:
        between = LinearNDInterpolator(places, values, rescale=True)
    except QhullError:  # all on one line
        return None
    xs, ys = (np.linspace(places[:, axis].min(), places[:, axis].max(), STEPS) for axis in (0, 1))
    return Surface(10**xs, 10**ys, between(*np.meshgrid(xs, ys)))


def plot_scatter(info: ScatterInfo) -> go.Figure:
    """The points over log axes, colored by value, with the best ringed and a symbol for each other state."""
    figure = go.Figure(layout={"template": LIGHT, "height": 600})
    if info.surface is not None:
        figure.add_trace(
            go.Contour(
                x=info.surface.xs,
                y=info.surface.ys,
                # Four digits keep the page small.
                z=[[None if math.isnan(z) else float(f"{z:.4g}") for z in row] for row in info.surface.values],
                contours={"coloring": "heatmap"},
                line={"width": 0},
                opacity=0.45,
                coloraxis="coloraxis",
                hoverinfo="skip",
                name="interpolated",
            )
        )
    if info.colors is not None:
        done = [point for point in info.points if point.state == "complete"]
        # The best of trials in one place is on top.
        done.sort(key=lambda point: point.value or 0.0, reverse=info.goal == "minimize")
        figure.add_trace(
            _points(info, done, {"size": 12, "color": [point.value for point in done], "coloraxis": "coloraxis"})
        )
        figure.update_layout(coloraxis=color_axis(info.colors), margin={"b": 115})
    for state, mark in MARKS.items():
        if some := [point for point in info.points if point.state == state]:
            figure.add_trace(_points(info, some, marker(mark)).update(name=mark.word, showlegend=True))
    if info.ridge:
        figure.add_trace(
            go.Scatter(
                x=[lr for lr, _ in info.ridge],
                y=[eps for _, eps in info.ridge],
                mode="lines",
                line={"color": ACCENT, "width": 2, "dash": "dash"},
                name="expected ridge",
                showlegend=True,
                hoverinfo="skip",
            )
        )
    if info.best is not None:
        ring = {"size": 20, "symbol": "circle-open", "color": ACCENT, "line": {"width": 3}}
        figure.add_trace(_points(info, [cell_of([info.best], info.goal)], ring).update(hoverinfo="skip"))
    over = f"{plotly_text(info.metric)} over {SYMBOLS[info.x]} and {SYMBOLS[info.y]} ({BETTER[info.goal]})"
    more = "; colors between the trials are interpolated" if info.surface is not None else ""
    figure.update_layout(title=headline(over, info.best, "ringed", more))
    trials = [point.trial for point in info.points if point.trial is not None]
    for name, update in ((info.x, figure.update_xaxes), (info.y, figure.update_yaxes)):
        update(**log_axis(name, [log_position(name, trial.cell[name]) for trial in trials]))
    return figure


def _points(info: ScatterInfo, points: Sequence[MapCell], look: dict[str, object]) -> go.Scatter:
    trials = [point.trial for point in points if point.trial is not None]
    return go.Scatter(
        x=[log_position(info.x, trial.cell[info.x]) for trial in trials],
        y=[log_position(info.y, trial.cell[info.y]) for trial in trials],
        mode="markers",
        marker=look,
        hovertext=hover_labels(points, info.metric),
        hoverinfo="text",
        showlegend=False,
    )
