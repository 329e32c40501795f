"""What the first screen draws: the map of lr and ε beside ẑ and beside the best value of each ε, as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epsearch.records.epsilon import power_of_ten
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial, best_trial
from epsearch.report.analysis.cells import MapCell, cell_of, state_of
from epsearch.report.analysis.chance import chance
from epsearch.report.analysis.profile import State
from epsearch.report.analysis.verdict import Verdict
from epsearch.report.figures.baseline import BASELINE
from epsearch.report.figures.bins import bins_over, edges_of, shares_of
from epsearch.report.figures.heatmap import HeatmapInfo, heatmap_info
from epsearch.report.figures.maps import searched
from epsearch.report.figures.scale import Scale, scale_of

BULK = (1, 99)
"""Percentiles of ẑ that the axis of ε covers."""

RIDGE_POINTS = 40


@dataclass(frozen=True)
class AtEps:
    """One power of ten of ε: the best value over lr and β₂, its 95 % interval, and the lr where it is.

    `state` is the verdict's; edge also where no model was made and the best lr is the smallest or largest one tried.
    """

    eps: float
    lr: float
    value: float
    low: float
    high: float
    state: State
    tried: float | None
    """The best value of a trial, which is luckier than the estimate is, or not at the best lr."""


@dataclass(frozen=True)
class LandscapeInfo:
    """The three panels on one axis of log10 ε, which reaches over `reach`.

    Attributes:
        cells: The map of a grid; None if lr or ε were drawn from an interval.
        points: The trials otherwise.
        scale: Of the colors, None if nothing is complete.
        rows: The best of each ε, ascending; with `band`, their intervals are known.
        edges: (bins + 1,) log10 of the edges of ẑ's bins; `shares` (bins,) are the elements' shares. Empty without a
            probe.
        probed: The range that the probe found.
        ridge: Points (lr, ε) of the expected best lr.
        best: The best complete trial.
        chosen: (lr, ε) of the line to copy.
        interval: The ε that are equally good.
        baseline: The best value of SGD with momentum.
    """

    metric: str
    cells: HeatmapInfo | None
    points: tuple[MapCell, ...]
    scale: Scale | None
    rows: tuple[AtEps, ...]
    band: bool
    edges: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]
    probed: tuple[float, float] | None
    ridge: tuple[tuple[float, float], ...]
    best: Trial | None
    chosen: tuple[float, float] | None
    interval: tuple[float, float] | None
    baseline: float | None
    reach: tuple[float, float]

    def drawn(self) -> list[MapCell]:
        """The cells or points of the map that have a trial."""
        if self.cells is None:
            return list(self.points)
        return [cell for _, _, cell in self.cells.cells() if cell.trial is not None]


def landscape_info(outcome: Outcome, found: Verdict) -> LandscapeInfo | None:
    """The panels of a study and its verdict; None if no trial has both an lr and an ε."""
    trials = [trial for trial in searched(outcome) if trial.lr and trial.eps]
    if not trials:
        return None
    grid = outcome.is_grid("lr") and outcome.is_grid("eps")
    complete = [trial for trial in trials if state_of(trial) == "complete"]
    values = [trial.value for trial in complete if trial.value is not None]
    probe, baseline = outcome.probe, outcome.best_of(BASELINE)
    pooled = probe.histogram if probe is not None else None
    probed = (probe.range.lower, probe.range.upper) if probe is not None else None
    bins = bins_over([pooled], probed or ()) if pooled is not None else range(0)
    bulk = [pooled.percentile(q) for q in BULK] if pooled is not None else []
    half = 0.5 if grid else 0.15
    powers = [math.log10(trial.eps or 1.0) for trial in trials]
    powers += [math.log10(eps) for eps in (*(probed or ()), *bulk) if eps > 0]
    reach = min(powers) - half, max(powers) + half
    ridge = outcome.ridge
    eps_of_ridge = (10 ** np.linspace(*reach, RIDGE_POINTS)).tolist() if ridge is not None else []
    return LandscapeInfo(
        metric=outcome.metric,
        cells=heatmap_info(trials, "lr", "eps", goal=outcome.goal, metric=outcome.metric, full=False) if grid else None,
        points=() if grid else tuple(cell_of([trial], outcome.goal) for trial in trials),
        scale=scale_of(values, outcome.goal, chance(outcome), found.sigma),
        rows=_rows(outcome, found, trials),
        band=bool(found.rows),
        edges=edges_of(bins) if bins else np.zeros(0),
        shares=shares_of(pooled, bins) if pooled is not None else np.zeros(0),
        probed=probed,
        ridge=tuple((ridge.lr(eps), eps) for eps in eps_of_ridge) if ridge is not None else (),
        best=best_trial(complete, outcome.goal),
        chosen=(found.lr, found.eps) if found.lr is not None and found.eps is not None else None,
        interval=found.interval,
        baseline=baseline.value if baseline is not None and outcome.optimizer != BASELINE else None,
        reach=reach,
    )


def _rows(outcome: Outcome, found: Verdict, trials: Sequence[Trial]) -> tuple[AtEps, ...]:
    """The verdict's rows, and the best trial of each ε that has none."""
    by_power: dict[int, list[Trial]] = {}
    for trial in trials:
        by_power.setdefault(round(math.log10(trial.eps or 1.0)), []).append(trial)
    tried = {power: cell_of(some, outcome.goal) for power, some in by_power.items()}
    rows = {}
    for row in found.rows:
        power = round(math.log10(row.eps))
        rows[power] = AtEps(row.eps, row.lr, row.value, row.low, row.high, row.state, tried[power].value)
    for power, best in tried.items():
        if power in rows or best.value is None or best.trial is None:
            continue
        lr, rates = best.trial.lr or 0.0, [trial.lr or 0.0 for trial in by_power[power]]
        state: State = "edge" if lr in (min(rates), max(rates)) else "unknown"
        rows[power] = AtEps(power_of_ten(power), lr, best.value, best.value, best.value, state, best.value)
    return tuple(rows[power] for power in sorted(rows))
