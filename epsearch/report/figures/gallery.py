"""The figures of a study. To add one, write a function of an `Outcome` and add an entry to `GALLERY`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import plotly.graph_objects as go

from epsearch.core.numbers import rounded
from epsearch.records.outcome import Outcome
from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.baseline import BASELINE, curve_info, plot_curve
from epsearch.report.figures.drawable import drawable
from epsearch.report.figures.histogram import AROUND, histogram_info, plot_histogram
from epsearch.report.figures.history import fraction_info, history_info, plot_fractions, plot_history
from epsearch.report.figures.landscape import landscape_info
from epsearch.report.figures.landscape_figure import plot_landscape
from epsearch.report.figures.learning import learning_info, plot_learning
from epsearch.report.figures.literature import literature_info, plot_literature
from epsearch.report.figures.lr_test import lr_test_info, plot_lr_test
from epsearch.report.figures.maps import note_baselines, plot_map, searched
from epsearch.report.figures.timeline import plot_timeline, timeline_info

MAIN = "landscape"
"""The figure of the first screen."""


class Entry(NamedTuple):
    """One figure of the report."""

    id: str
    """Names it in files, on the page and in Optuna's dashboard."""
    draw: Callable[[Outcome], go.Figure | None]
    """Returns None where the study has nothing to draw."""
    absent: Callable[[Outcome], str] | None = None
    """Why it is missing, in a sentence for the page; empty where no reader would look for it."""
    in_dashboard: bool = True
    """Whether to publish it in Optuna's dashboard."""
    card: Callable[[Outcome, int], go.Figure | None] | None = None
    """Draws it at most so many pixels high, where its layout depends on its height."""


def figures(outcome: Outcome) -> dict[str, go.Figure]:
    """The study's figures by id, in reading order; those with nothing to draw are left out."""
    drawn = {entry.id: figure for entry in GALLERY if (figure := entry.draw(outcome)) is not None}
    values = (number or 0.0 for trial in outcome.trials for number in (trial.value, trial.spread))
    return drawable(drawn, itertools.chain(values, (value for trial in outcome.trials for _, value in trial.history)))


def _landscape(outcome: Outcome) -> go.Figure | None:
    info = landscape_info(outcome, verdict(outcome))
    return None if info is None else plot_landscape(info)


def _lr_eps(outcome: Outcome) -> go.Figure | None:
    return plot_map(outcome, "lr", "eps")


def _no_lr_eps(outcome: Outcome) -> str:
    return f"No map of α and ε yet: no trial of {outcome.optimizer} has been planned."


def _eps_beta2(outcome: Outcome) -> go.Figure | None:
    varied = len({trial.beta2 for trial in searched(outcome)} - {None}) > 1
    return plot_map(outcome, "eps", "beta2") if varied else None


def _no_eps_beta2(outcome: Outcome) -> str:
    if not any({"lr", "eps"} <= trial.cell.keys() for trial in searched(outcome)):
        return ""
    values = {trial.beta2 for trial in searched(outcome)} - {None}
    fixed = f" It was {rounded('beta2', values.pop() or 0)} in every trial." if values else ""
    return f"No map of ε and β₂: β₂ was not varied.{fixed}"


def _probe_histogram(outcome: Outcome, height: int | None = None) -> go.Figure | None:
    if outcome.probe is None:
        return None
    info = histogram_info(outcome.probe, outcome.best.eps if outcome.best else None)
    return plot_histogram(info) if height is None else plot_histogram(info, height - AROUND)


def _lr_test(outcome: Outcome) -> go.Figure | None:
    return None if outcome.lr_test is None else plot_lr_test(lr_test_info(outcome.lr_test))


def _histogram_history(outcome: Outcome) -> go.Figure | None:
    if outcome.history is None:
        return None
    return plot_history(history_info(outcome.history, "the best trial's training"))


def _adaptive_share(outcome: Outcome) -> go.Figure | None:
    if outcome.history is None:
        return None
    return plot_fractions(fraction_info(outcome.history, "the best trial's training"))


def _eps_range(outcome: Outcome) -> go.Figure | None:
    if outcome.probe is None:
        return None
    best = outcome.best.eps if outcome.best else None
    return plot_literature(literature_info(outcome.probe.range, outcome.optimizer, best))


def _baseline(outcome: Outcome) -> go.Figure | None:
    if not any(trial.optimizer == BASELINE and trial.lr is not None for trial in outcome.trials):
        return None
    reference = outcome.best.value if outcome.best and outcome.optimizer != BASELINE else None
    return plot_curve(curve_info(outcome.trials, goal=outcome.goal, metric=outcome.metric, reference=reference))


def _learning(outcome: Outcome) -> go.Figure | None:
    info = learning_info(
        outcome.trials, outcome.optimizer, goal=outcome.goal, metric=outcome.metric, points=outcome.is_grid("eps")
    )
    if not any(len(curve.values) > 1 for curve in info.curves):
        return None
    figure = plot_learning(info)
    if info.baseline is None:
        note_baselines(figure, outcome)
    return figure


def _timeline(outcome: Outcome) -> go.Figure | None:
    info = timeline_info(searched(outcome), goal=outcome.goal, metric=outcome.metric)
    if len(info.trials) < 2:
        return None
    figure = plot_timeline(info)
    note_baselines(figure, outcome)
    return figure


GALLERY = (
    # The page opens with it; a card of the dashboard is too small for its three panels.
    Entry(MAIN, _landscape, absent=_no_lr_eps, in_dashboard=False),
    Entry("heatmap-lr-eps", _lr_eps),  # Figs. 6, 7
    Entry("heatmap-eps-beta2", _eps_beta2, absent=_no_eps_beta2),  # Fig. 10
    Entry("probe-histogram", _probe_histogram, card=_probe_histogram),  # Figs. 8, 9
    Entry("lr-test", _lr_test),
    Entry("histogram-progress", _histogram_history),  # Figs. 8, 9 over a training
    Entry("adaptive-share", _adaptive_share),  # Table 2
    Entry("eps-range", _eps_range),  # Table 3
    Entry("sgd-momentum-lr", _baseline),  # Fig. 5
    Entry("learning-curves", _learning),
    # The dashboard draws its own history; with 10,000 trials ours would take 900 writes.
    Entry("trials-in-order", _timeline, in_dashboard=False),
)
"""Every figure, in reading order."""
