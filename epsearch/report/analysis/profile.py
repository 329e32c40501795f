"""What each ε reaches at its best lr and β₂, with its uncertainty, from all cells near the optimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from epsearch.core.examples import examples_of
from epsearch.records.outcome import Outcome
from epsearch.report.analysis.bent import Bent
from epsearch.report.analysis.cells import state_of
from epsearch.report.analysis.claims import CONFIDENCE, better_end, is_bracketed, is_worse
from epsearch.report.analysis.coordinates import Coordinates, Point
from epsearch.report.analysis.near import among, moved, near_the_ridge, point_of, power_of
from epsearch.report.analysis.noise import noise_of
from epsearch.report.analysis.scale import Scale
from epsearch.report.analysis.surface import Floats, Surface

SMALL, LARGE = 0.01, 0.05
"""Least and greatest difference that counts as equal, as a share of the best value. Between, it is the cost of an lr
half a decade away: lr is rarely tuned more finely than that, so no one would notice less. The limits are for surfaces
that are flat or steep in lr."""

SAME = 0.03
"""An ε is equal to the best if it is not worse and falls short by no more than the tolerance, or this share: one seed
rarely gives a tighter bound, and without it every plateau would break up into unknown ε."""

STEP = 0.25
"""Decades between the lr among which an optimum is chosen: half the step of the usual grid."""

IMMUTABLE = 0.9
"""Damping from which a larger ε only asks for a larger lr."""

DRAWS = 4000
"""Enough that 100 of them lie beyond the 97.5 % quantile, so that the verdict hardly depends on the draws."""

State = Literal["equal", "worse", "unknown", "edge"]


@dataclass(frozen=True)
class Row:
    """One power of ten of ε.

    `value` is the best value over lr and β₂, between `low` and `high` with 95 % confidence; `lr` and `beta2` are where.
    `behind` is how far it falls short of the best ε, at most `at_most` with 95 % confidence. `state`: equal to the
    best, worse (with 95 % confidence), unknown, or edge: the best lr is at an edge of those tried.
    `damping` is the probe's, None without one.
    """

    eps: float
    lr: float
    beta2: float | None
    value: float
    low: float
    high: float
    behind: float
    error: float
    at_most: float
    damping: float | None
    state: State


@dataclass(frozen=True)
class Profile:
    """All ε in order.

    Attributes:
        rows: One for each power of ten.
        best: The index of the best of those with lr tried on both sides of the best one.
        within: Bounds every shortfall, with 95 % confidence.
        sigma: The noise of one seed.
        tolerance: Differences up to this count as equal.
        examples: The size of the test set, None if unknown.
        pruned: Whether every trial below or above these ε was pruned: worse, though by how much is unknown.
        better_end: The end of ε that is better than the other one (97.5 %); None if that is not sure.
    """

    rows: tuple[Row, ...]
    best: int
    within: float
    sigma: float
    tolerance: float
    examples: int | None
    pruned: tuple[bool, bool]
    better_end: Literal["small", "large"] | None


def profile(outcome: Outcome) -> Profile:
    """Estimate what each ε of the searched optimizer reaches. At least two values of ε and of lr must be complete."""
    return _Study(outcome).profile()


class _Study:
    def __init__(self, outcome: Outcome) -> None:
        self._arm = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer and trial.eps]
        self._complete = [trial for trial in self._arm if state_of(trial) == "complete"]
        self._scale = Scale(outcome, self._complete)
        self._coordinates = Coordinates(outcome)
        seeds = [seed for trial in self._complete for seed in trial.seed_values]
        self._examples = examples_of(seeds, outcome.metric)
        self._probe, self._is_grid = outcome.probe, outcome.sampler == "grid"
        short = np.array([self._scale.best - self._scale.of(trial) for trial in self._complete])
        self._near = near_the_ridge(self._complete, short, self._coordinates)
        self._powers = list(self._near.cells)
        self._bounds = self._tried_bounds()
        self._learn(short)
        optima = [self._optimum(power) for power in self._powers]
        unknown = set(range(len(optima))) - set(self._bracketed(optima))
        if unknown:
            # The ridge may lie elsewhere: learn from the cells around the optimum that the model expects.
            elsewhere = {self._powers[row]: float(self._distances([optima[row]])[0]) for row in unknown}
            self._near = moved(self._near, elsewhere, self._complete, short, self._coordinates)
            self._learn(short)

    def _learn(self, short: Floats) -> None:
        """Fit the surface to the cells near the ridge. Diverged ones are as bad as the worst of their ε."""
        self._bent = Bent(self._near.cells, short)
        kept = [(index, power) for power, indices in self._near.cells.items() for index in indices]
        trials = [self._complete[index] for index, _ in kept]
        diverged = [trial for trial in self._arm if state_of(trial) == "diverged"]
        gone = among(diverged, self._near, self._coordinates)
        levels = self._bent.levels
        worst = max(max(0.0, short[index] - levels[power]) for index, power in kept)
        values = [self._bent.of(short[index], power) for index, power in kept]
        values += [self._bent.of(levels[power] + worst, power) for power in map(power_of, gone)]
        seeds = [max(1, len(trial.seed_values)) for trial in trials] + [1] * len(gone)
        noise = noise_of(trials, short[[index for index, _ in kept]], self._examples, self._scale)
        self._cells = [point_of(trial) for trial in (*trials, *gone)]
        points, doubts = self._coordinates.of(self._cells), self._coordinates.doubts
        self._surface = Surface(points, np.array(values), np.array(seeds, dtype=float), noise, doubts)

    def profile(self) -> Profile:
        optima = [self._optimum(power) for power in self._powers]
        # Draws are the same whenever the report is drawn.
        rng = np.random.default_rng(0)
        drawn = -self._bent.back(-self._surface.draw(self._coordinates.of(optima), DRAWS, rng))
        mean, known = drawn.mean(axis=0), self._bracketed(optima)
        best = max(known or range(len(optima)), key=lambda row: float(mean[row]))
        behind = drawn[:, [best]] - drawn
        size = abs(self._scale.best)
        tolerance = min(max(SMALL * size, self._cost_of_half_a_decade(optima[best])), LARGE * size)
        edges = [self._is_at_edge(*each) for each in zip(self._powers, optima, strict=True)]
        damping = [None if self._probe is None else self._probe.damping(10.0**power) for power in self._powers]
        kept = _without_the_tail(edges, damping, best)

        def state(row: int) -> State:
            if edges[row]:
                return "edge"
            if row in known and is_worse(drawn, row, known, size):
                return "worse"
            at_most = float(np.quantile(behind[:, row], CONFIDENCE))
            return "equal" if at_most <= max(tolerance, SAME * size) else "unknown"

        rows = [self._row(optima[row], drawn[:, row], behind[:, row], damping[row], state(row)) for row in range(kept)]
        within = float(np.quantile(behind[:, :kept].max(axis=1), CONFIDENCE))
        within, sigma, tolerance = (self._scale.amount(each) for each in (within, self._surface.sigma, tolerance))
        ends = better_end(drawn[:, :kept])
        return Profile(tuple(rows), best, within, sigma, tolerance, self._examples, self._pruned(), ends)

    def _optimum(self, power: int) -> Point:
        """The best lr and β₂ at an ε, of lr around the ridge and the β₂ tried."""
        tried = sorted({trial.beta2 for trial in self._complete if trial.beta2 is not None})
        beta2s: list[float | None] = [*tried] or [None]
        base = self._distances([(1.0, 10.0**power, None)])[0]
        near = np.arange(-1.0, 1.01, STEP) + self._near.centers[power] - base
        low, high = self._bounds[power]
        lrs = near[(near >= low - 1e-6) & (near <= high + 1e-6)]
        lrs = lrs if len(lrs) else np.clip(near[[len(near) // 2]], low, high)
        candidates = [(10.0**lr, 10.0**power, beta2) for lr in lrs for beta2 in beta2s]
        return candidates[int(self._surface.mean(self._coordinates.of(candidates)).argmax())]

    def _distances(self, cells: Sequence[Point]) -> Floats:
        return self._coordinates.of(cells)[self._near.reference][:, 0]

    def _bracketed(self, optima: Sequence[Point]) -> list[int]:
        """The indices of the ε with lr tried on both sides of the best one, there or a decade of ε away."""
        tried, eps = self._distances(self._cells), np.log10([cell[1] for cell in self._cells])
        around = [tried[np.abs(eps - power) <= 1 + 1e-6] for power in self._powers]
        distances = self._distances(optima)
        return [row for row, cells in enumerate(around) if is_bracketed(float(distances[row]), cells)]

    def _tried_bounds(self) -> dict[int, tuple[float, float]]:
        """log10 of the smallest and largest lr tried: by the power of ten of ε for a grid, of all for a sampler."""
        tried: dict[int, list[float]] = {power: [] for power in self._powers}
        for trial in self._arm:
            for power in [power_of(trial)] if self._is_grid else tried:
                if power in tried:
                    tried[power].append(math.log10(trial.lr or 1.0))
        return {power: (min(lrs), max(lrs)) for power, lrs in tried.items()}

    def _is_at_edge(self, power: int, optimum: Point) -> bool:
        low, high = self._bounds[power]
        margin = STEP + 0.01  # one step from an edge is as good as at it
        return not low + margin < math.log10(optimum[0]) < high - margin

    def _pruned(self) -> tuple[bool, bool]:
        first, last = self._powers[0], self._powers[-1]
        below = [trial for trial in self._arm if power_of(trial) < first]
        above = [trial for trial in self._arm if power_of(trial) > last]
        only = [bool(part) and all(state_of(trial) == "pruned" for trial in part) for part in (below, above)]
        return only[0], only[1]

    def _cost_of_half_a_decade(self, optimum: Point) -> float:
        lr, eps, beta2 = optimum
        points = self._coordinates.of([(lr * step, eps, beta2) for step in (1.0, 10**-0.5, 10**0.5)])
        values = -self._bent.back(-self._surface.mean(points))
        return float(values[0] - values[1:].mean())

    def _row(self, optimum: Point, drawn: Floats, behind: Floats, damping: float | None, state: State) -> Row:
        lr, eps, beta2 = optimum
        tail = (1 - CONFIDENCE) / 2
        quantiles = (*np.quantile(drawn, [tail, 1 - tail]), drawn.mean())
        low, middle, high = sorted(self._scale.value(float(each)) for each in quantiles)
        return Row(
            eps=float(f"1e{round(math.log10(eps))}"),
            lr=self._tried(lr),
            beta2=beta2,
            value=middle,
            low=low,
            high=high,
            behind=self._scale.amount(float(behind.mean())),
            error=self._scale.amount(float(1.96 * behind.std())),
            at_most=self._scale.amount(float(np.quantile(behind, CONFIDENCE))),
            damping=damping,
            state=state,
        )

    def _tried(self, lr: float) -> float:
        """The nearest lr that was tried, if those are points; else two significant digits."""
        tried = {trial.lr for trial in self._arm if trial.lr is not None}
        nearest = min(tried, key=lambda other: abs(math.log10(other / lr)))
        return nearest if len(tried) <= len(self._arm) / 2 else float(f"{lr:.1e}")


def _without_the_tail(edges: Sequence[bool], damping: Sequence[float | None], best: int) -> int:
    """How many ε remain without the largest ones whose best lr was not reached.

    Where the optimizer is immutable already, those beyond are the same one (at an lr in proportion).
    """
    last = len(edges)
    while last - 1 > best and edges[last - 1]:
        last -= 1
    return last if (damping[last - 1] or 0.0) >= IMMUTABLE else len(edges)
