"""How the best trials learned: the metric after each epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from epsearch.labels import count, place, plotly_text
from epsearch.records import Goal, Trial, best_trial
from epsearch.report.cells import state_of
from epsearch.report.colours import BETTER
from epsearch.report.style import ACCENT, LIGHT, headline
from epsearch.report.timeline import BASELINE_COLOURS

SHOWN = 5
"""Trials of the searched optimizer that are shown, at most."""


@dataclass(frozen=True)
class Curve:
    """One trial; `rows` (seeds × epochs) are its metric after each epoch.

    `mixed`: the seeds could not be told apart, so that one row has all of them, one after another.
    """

    trial: Trial
    rows: tuple[tuple[float, ...], ...]

    @property
    def mixed(self) -> bool:
        """Whether one row holds several seeds."""
        return len(self.rows) < len(self.trial.seed_values)


@dataclass(frozen=True)
class LearningInfo:
    """What the figure shows: the best trials of the searched optimizer, best first, and the best of each baseline."""

    best: tuple[Curve, ...]
    baselines: tuple[Curve, ...]
    metric: str
    goal: Goal

    @property
    def curves(self) -> tuple[Curve, ...]:
        """All of them."""
        return self.best + self.baselines

    @property
    def epochs(self) -> int:
        """The length of the longest row; 0 of none."""
        return max((len(row) for curve in self.curves for row in curve.rows), default=0)


def learning_info(
    trials: Sequence[Trial], optimizer: str, *, goal: Goal, metric: str, most: int = SHOWN
) -> LearningInfo:
    """Choose the complete trials with the best values, the earliest where several tie, of those with a history.

    A history whose steps do not count epochs from 1 (by seeds, where the pruner is wilcoxon) is none.
    """
    arms: dict[str, list[Trial]] = {optimizer: []}
    for trial in trials:
        counted = all(step == epoch for epoch, (step, _) in enumerate(trial.history, start=1))
        if trial.history and counted and state_of(trial) == "complete":
            arms.setdefault(trial.optimizer, []).append(trial)
    sign = -1 if goal == "maximize" else 1
    searched = sorted(arms.pop(optimizer), key=lambda trial: (sign * (trial.value or 0.0), trial.number))
    baselines = [best for arm in arms.values() if (best := best_trial(arm, goal)) is not None]
    return LearningInfo(
        best=tuple(Curve(trial, rows_of(trial, goal)) for trial in searched[:most]),
        baselines=tuple(Curve(trial, rows_of(trial, goal)) for trial in baselines),
        metric=metric,
        goal=goal,
    )


def rows_of(trial: Trial, goal: Goal) -> tuple[tuple[float, ...], ...]:
    """The history by seeds, where equal parts of it have the seeds' values as their best; else all of it as one row.

    The history does not tell where a seed ends, and a seed that diverged is shorter than the others.
    """
    values = tuple(value for _, value in trial.history)
    seeds = trial.seed_values
    epochs, rest = divmod(len(values), max(len(seeds), 1))
    if len(seeds) > 1 and epochs and not rest:
        rows = tuple(values[begin : begin + epochs] for begin in range(0, len(values), epochs))
        best = max if goal == "maximize" else min
        if all(math.isclose(best(row), value) for row, value in zip(rows, seeds, strict=True)):
            return rows
    return (values,)


def plot_learning(info: LearningInfo) -> go.Figure:
    """A line for each trial and seed, the best trial's thick, the baselines' dashed."""
    figure = go.Figure(layout={"template": LIGHT, "height": 460})
    # Not to Viridis' ends: one is lost on black, the other on white.
    shades = sample_colorscale("Viridis", np.linspace(0.2, 0.85, max(len(info.best) - 1, 1)).tolist())
    for curve, colour in zip(info.best, [ACCENT, *shades], strict=False):
        width = 3 if curve is info.best[0] else 1.5
        figure.add_traces(_lines(curve, place(curve.trial), {"color": colour, "width": width}))
    for index, curve in enumerate(info.baselines):
        name = f"{plotly_text(curve.trial.optimizer)}, {place(curve.trial)}"
        colour = BASELINE_COLOURS[index % len(BASELINE_COLOURS)]
        figure.add_traces(_lines(curve, name, {"color": colour, "width": 2, "dash": "dash"}))
    metric = plotly_text(info.metric)
    figure.update_layout(
        title=headline(
            f"{metric} of the best trials while they learned ({BETTER[info.goal]})",
            info.best[0].trial if info.best else None,
            "thick",
        ),
        yaxis={"title": {"text": metric}},
        legend={"itemsizing": "constant"},
    )
    over = ", all seeds one after another" if any(curve.mixed for curve in info.curves) else ""
    # Epochs are counted: no tick at 1.5.
    figure.update_xaxes(title={"text": f"epochs trained{over}"}, dtick=1 if info.epochs <= 10 else None)
    return figure


def _lines(curve: Curve, name: str, line: dict[str, object]) -> list[go.Scatter]:
    trial = curve.trial
    if curve.mixed:
        name = f"{name} ({count(len(trial.seed_values), 'seed')})"
    lines = []
    for seed, row in enumerate(curve.rows, start=1):
        whose = f"trial {trial.number}" + (f", seed {seed} of {len(curve.rows)}" if len(curve.rows) > 1 else "")
        lines.append(
            go.Scatter(
                x=list(range(1, len(row) + 1)),
                y=[float(f"{value:.6g}") for value in row],
                mode="lines+markers" if len(row) <= 40 else "lines",
                line=line,
                marker={"size": 5},
                name=name,
                legendgroup=f"{trial.optimizer} {trial.number}",
                showlegend=seed == 1,
                text=name,
                hovertemplate=f"%{{text}}<br>{whose}: %{{y:.4g}} after epoch %{{x}}<extra></extra>",
            )
        )
    return lines
