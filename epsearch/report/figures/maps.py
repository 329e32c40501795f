"""The map of two hyperparameters of a study: a heatmap over a grid, a scatter over intervals."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go

from epsearch.core.numbers import count
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.figures.colors import Colors
from epsearch.report.figures.heatmap import heatmap_info, plot_heatmap
from epsearch.report.figures.scatter import plot_scatter, scatter_info


def searched(outcome: Outcome) -> list[Trial]:
    """The trials of the searched optimizer, without the baselines'."""
    return [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer]


def plot_map(outcome: Outcome, x: str, y: str, colors: Colors | None = None) -> go.Figure | None:
    """The map of the hyperparameters `x` and `y`; None if no trial has both.

    `colors` replaces the scale made from the study's own values.
    """
    trials = searched(outcome)
    if not any({x, y} <= trial.cell.keys() for trial in trials):
        return None
    if outcome.is_grid(x) and outcome.is_grid(y):
        # A sampler leaves cells out, and around the ridge each ε has learning rates of its own.
        full = outcome.sampler == "grid" and (outcome.lr_test is None or "lr" not in (x, y))
        cells = heatmap_info(trials, x, y, goal=outcome.goal, metric=outcome.metric, ridge=outcome.ridge, full=full)
        figure = plot_heatmap(replace(cells, colors=cells.colors and (colors or cells.colors)))
    else:
        points = scatter_info(trials, x, y, goal=outcome.goal, metric=outcome.metric, ridge=outcome.ridge)
        figure = plot_scatter(replace(points, colors=points.colors and (colors or points.colors)))
    note_baselines(figure, outcome)
    return figure


def note_baselines(figure: go.Figure, outcome: Outcome) -> None:
    """Add to the caption how many trials of the baselines the figure leaves out."""
    if left_out := len(outcome.trials) - len(searched(outcome)):
        figure.layout.title.subtitle.text += f"; without the {count(left_out, 'trial')} of the baselines"
