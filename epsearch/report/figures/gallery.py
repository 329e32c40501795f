"""The figures of a study, by the ids under which they are saved, embedded and published."""

from __future__ import annotations

import itertools

import plotly.graph_objects as go

from epsearch.core.numbers import count
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.figures.axes import is_grid
from epsearch.report.figures.baseline import BASELINE, curve_info, plot_curve
from epsearch.report.figures.drawable import drawable
from epsearch.report.figures.heatmap import heatmap_info, plot_heatmap
from epsearch.report.figures.histogram import histogram_info, plot_histogram
from epsearch.report.figures.history import fraction_info, history_info, plot_fractions, plot_history
from epsearch.report.figures.learning import learning_info, plot_learning
from epsearch.report.figures.literature import literature_info, plot_literature
from epsearch.report.figures.scatter import plot_scatter, scatter_info
from epsearch.report.figures.timeline import plot_timeline, timeline_info


def figures(outcome: Outcome) -> dict[str, go.Figure]:
    """What there is to draw, in reading order; what there is nothing for is left out.

    heatmap-lr-eps (Figs. 6, 7), heatmap-eps-beta2 (Fig. 10; where beta2 was varied), probe-histogram
    (Figs. 8, 9; where there was a probe), histogram-progress and adaptive-share (Figs. 8, 9 and Table 2, of the best
    trial's training; where the study records histograms), eps-range (Table 3; where there was a probe),
    sgd-momentum-lr (Fig. 5; where that baseline was run), learning-curves (where trials have several epochs),
    trials-in-order.
    """
    drawn: dict[str, go.Figure] = {}
    if any({"lr", "eps"} <= trial.cell.keys() for trial in _searched(outcome)):
        drawn["heatmap-lr-eps"] = _map(outcome, "lr", "eps")
    if len({trial.beta2 for trial in _searched(outcome)} - {None}) > 1:
        drawn["heatmap-eps-beta2"] = _map(outcome, "eps", "beta2")
    eps = outcome.best.eps if outcome.best else None
    if outcome.probe is not None:
        drawn["probe-histogram"] = plot_histogram(histogram_info(outcome.probe, eps))
    if outcome.history is not None:
        whose = "the best trial's training"
        drawn["histogram-progress"] = plot_history(history_info(outcome.history, whose))
        drawn["adaptive-share"] = plot_fractions(fraction_info(outcome.history, whose))
    if outcome.probe is not None:
        drawn["eps-range"] = plot_literature(literature_info(outcome.probe.range, outcome.optimizer, eps))
    if any(trial.optimizer == BASELINE and trial.lr is not None for trial in outcome.trials):
        reference = outcome.best.value if outcome.best and outcome.optimizer != BASELINE else None
        drawn["sgd-momentum-lr"] = plot_curve(
            curve_info(outcome.trials, goal=outcome.goal, metric=outcome.metric, reference=reference)
        )
    learnt = learning_info(outcome.trials, outcome.optimizer, goal=outcome.goal, metric=outcome.metric)
    if any(len(curve.values) > 1 for curve in learnt.curves):
        drawn["learning-curves"] = plot_learning(learnt)
        if learnt.baseline is None:
            note_baselines(drawn["learning-curves"], outcome)
    timeline = timeline_info(_searched(outcome), goal=outcome.goal, metric=outcome.metric)
    if len(timeline.trials) > 1:
        drawn["trials-in-order"] = plot_timeline(timeline)
        note_baselines(drawn["trials-in-order"], outcome)
    curves = [*learnt.curves, *([learnt.baseline] if learnt.baseline else [])]
    values = (number or 0.0 for trial in outcome.trials for number in (trial.value, trial.spread))
    return drawable(drawn, itertools.chain(values, *(curve.values for curve in curves)))


def note_baselines(figure: go.Figure, outcome: Outcome) -> None:
    """Add to the caption of a figure of the searched arm alone how many trials the baselines have beside it."""
    if left_out := len(outcome.trials) - len(_searched(outcome)):
        figure.layout.title.subtitle.text += f"; without the {count(left_out, 'trial')} of the baselines"


def _searched(outcome: Outcome) -> list[Trial]:
    """The trials of the searched arm, without the baselines'."""
    return [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer]


def _map(outcome: Outcome, x: str, y: str) -> go.Figure:
    """Cells where both hyperparameters were chosen from points, else a scatter."""
    trials = _searched(outcome)
    if is_grid(trials, x) and is_grid(trials, y):
        figure = plot_heatmap(heatmap_info(trials, x, y, goal=outcome.goal, metric=outcome.metric))
    else:
        figure = plot_scatter(scatter_info(trials, x, y, goal=outcome.goal, metric=outcome.metric))
    note_baselines(figure, outcome)
    return figure
