"""What each ε reaches at its best lr and β₂, with its uncertainty, from all cells near the optimum."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from epsearch.core.examples import examples_of
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.analysis.bent import Bent
from epsearch.report.analysis.cells import state_of
from epsearch.report.analysis.coordinates import Coordinates, Point
from epsearch.report.analysis.surface import Floats, Noise, Surface

CONFIDENCE = 0.95

NEGLIGIBLE = 0.002
"""A difference that is none, as a share of the best value."""

SMALL, LARGE = 0.01, 0.05
"""Least and greatest difference that counts as equal, as a share of the best value. Between, it is the cost of an lr
half a decade away."""

SAME = 0.03
"""An ε is equal to the best if it is not worse and falls short by no more than the tolerance, or this share."""

WINDOW = 1.05
"""Cells at most that many decades of lr from the ridge are near the optimum."""

NEIGHBOURHOOD = 0.25
"""The ridge at an ε is found from cells whose damping is that similar."""

MOST_CELLS = 240
"""Cells that the model learns from, at most."""

ENOUGH = 3
"""Cells near the optimum from which an ε can be judged, if the study has that many."""

DRAWS = 4000

FAR = 1e9
"""Units of the best value; a loss far beyond them has diverged."""

State = Literal["equal", "worse", "unknown", "edge"]


@dataclass(frozen=True)
class Row:
    """One power of ten of ε.

    `value` is the best value over lr and β₂, between `low` and `high` with 95 % confidence; `lr` and `beta2` are where.
    `behind` is how far it falls short of the best ε, at most `at_most` with 95 % confidence. `state`: equal to the
    best, worse (with 97.5 % confidence), unknown, or edge: the best lr is at an edge of those tried.
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
    """All ε in order. `within` bounds every shortfall, `sigma` is the noise of one seed, `tolerance` what counts as
    equal."""

    rows: tuple[Row, ...]
    best: int
    within: float
    sigma: float
    tolerance: float
    examples: int | None
    pruned: tuple[bool, bool]
    """Whether every trial below or above these ε was pruned: worse, though by how much is unknown."""


def profile(outcome: Outcome) -> Profile:
    """Estimate what each ε of the searched optimizer reaches. At least two values of ε and of lr must be complete."""
    return _Study(outcome).profile()


class _Study:
    def __init__(self, outcome: Outcome) -> None:
        self._arm = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer and trial.eps]
        self._complete = [trial for trial in self._arm if state_of(trial) == "complete"]
        self._sign = 1.0 if outcome.goal == "maximize" else -1.0
        # Values near the limit of floats would overflow in differences and squares.
        self._unit = abs(outcome.best.value or 0.0) if outcome.best is not None else 0.0
        self._unit = self._unit or statistics.median(abs(trial.value or 0.0) for trial in self._complete) or 1.0
        self._best = max(self._score(trial) for trial in self._complete)
        self._coordinates = Coordinates(outcome)
        self._metric, self._probe = outcome.metric, outcome.probe
        self._is_grid = outcome.sampler == "grid"

    def _score(self, trial: Trial) -> float:
        """The value in units of the best, higher for better trials; beyond a billion, all are equally bad."""
        return min(max(self._sign * (trial.value or 0.0) / self._unit, -FAR), FAR)

    def profile(self) -> Profile:
        rows = _by_power(self._complete)
        short = np.array([self._best - self._score(trial) for trial in self._complete])
        hypotheses = self._coordinates.of([_point(trial) for trial in self._complete])
        reference = _sharpest(hypotheses, self._coordinates.doubts, short)
        points = hypotheses[reference]
        centers = _ridge(points, short, rows)
        window = {
            power: _near(points[:, 0], short, indices, centers[power])[: max(ENOUGH, MOST_CELLS // len(rows))]
            for power, indices in rows.items()
        }
        bent = Bent(window, short)
        kept = [(index, power) for power, indices in window.items() for index in indices]
        cells = [_point(self._complete[index]) for index, _ in kept]
        values = [bent.of(short[index], power) for index, power in kept]
        seeds = [max(1, len(self._complete[index].seed_values)) for index, _ in kept]
        gone = self._diverged(centers, reference)
        worst = max(max(0.0, short[index] - bent.levels[power]) for index, power in kept)
        cells += [_point(trial) for trial, _ in gone]
        values += [bent.of(bent.levels[power] + worst, power) for _, power in gone]
        seeds += [1] * len(gone)
        examples = examples_of([seed for trial in self._complete for seed in trial.seed_values], self._metric)
        noise = self._noise([self._complete[index] for index, _ in kept], short[[index for index, _ in kept]], examples)
        surface = Surface(
            self._coordinates.of(cells), np.array(values), np.array(seeds, dtype=float), noise, self._coordinates.doubts
        )
        counts = {power: len(window[power]) + sum(other == power for _, other in gone) for power in rows}
        return self._judged(surface, bent, centers, reference, counts, examples)

    def _diverged(self, centers: Mapping[int, float], reference: int) -> list[tuple[Trial, int]]:
        """Diverged trials near the ridge: as bad as the worst of their ε, so that no optimum is expected there."""
        gone = [trial for trial in self._arm if state_of(trial) == "diverged" and _power(trial) in centers]
        if not gone:
            return []
        distances = self._coordinates.of([_point(trial) for trial in gone])[reference][:, 0]
        near = [
            (trial, _power(trial))
            for trial, distance in zip(gone, distances, strict=True)
            if abs(distance - centers[_power(trial)]) <= WINDOW
        ]
        return near[:MOST_CELLS]

    def _noise(self, trials: Sequence[Trial], short: Floats, examples: int | None) -> Noise:
        """From the seeds of the better half, since trials that fail to learn vary more; and from the test set."""
        good = [
            (trial.spread / self._unit, len(trial.seed_values) - 1)
            for trial, lost in zip(trials, short, strict=True)
            if lost <= np.median(short) and trial.spread is not None and len(trial.seed_values) > 1
        ]
        freedom = sum(number for _, number in good)
        total = sum(spread**2 * number for spread, number in good)
        if examples is not None:
            share = min(max(abs(self._best) * self._unit, 0.0), 1.0)
            # The binomial error counts as an estimate from 5 seeds.
            freedom, total = freedom + 4, total + 4 * share * (1 - share) / examples / self._unit**2
        return Noise(total / freedom, freedom) if freedom else Noise()

    def _judged(
        self,
        surface: Surface,
        bent: Bent,
        centers: Mapping[int, float],
        reference: int,
        counts: Mapping[int, int],
        examples: int | None,
    ) -> Profile:
        bounds = self._bounds(centers)
        tried = sorted({trial.beta2 for trial in self._complete if trial.beta2 is not None})
        beta2s: list[float | None] = [*tried] or [None]
        powers = sorted(centers)
        optima: list[Point] = []
        for power in powers:
            base = float(self._coordinates.of([(1.0, 10.0**power, None)])[reference][0, 0])
            near = np.arange(-1.0, 1.01, 0.25) + centers[power] - base
            low, high = bounds[power]
            lrs = near[(near >= low - 1e-6) & (near <= high + 1e-6)]
            lrs = lrs if len(lrs) else np.clip(near[[4]], low, high)
            candidates = [(10.0**lr, 10.0**power, beta2) for lr in lrs for beta2 in beta2s]
            optima.append(candidates[int(surface.mean(self._coordinates.of(candidates)).argmax())])
        points = self._coordinates.of(optima)
        # Draws are the same whenever the report is drawn.
        drawn = -bent.back(-surface.draw(points, DRAWS, np.random.default_rng(0)))
        best = int(drawn.mean(axis=0).argmax())
        behind = drawn[:, [best]] - drawn
        tail = (1 - CONFIDENCE) / 2
        size = abs(self._best)
        worse = (behind <= NEGLIGIBLE * size).mean(axis=0) < tail
        at_most = np.quantile(behind, CONFIDENCE, axis=0)
        tolerance = min(max(SMALL * size, self._cost_of_half_a_decade(surface, bent, optima[best])), LARGE * size)
        # A quarter of a decade is the resolution of the optimum.
        edge = [
            not bounds[power][0] + 0.26 < math.log10(lr) < bounds[power][1] - 0.26
            for power, (lr, _, _) in zip(powers, optima, strict=True)
        ]
        # Those of the neighbours count, since the model learns from them too.
        around = [sum(counts.get(power + step, 0) for step in (-1, 0, 1)) for power in powers]
        enough = min(ENOUGH, max(around))
        damping = [None if self._probe is None else self._probe.damping(10.0**power) for power in powers]
        kept = self._without_the_tail(edge, damping, best)
        rows = tuple(
            self._row(
                optima[row],
                drawn[:, row],
                behind[:, row],
                damping[row],
                "edge"
                if edge[row]
                else "worse"
                if worse[row] and around[row] >= enough
                else "equal"
                if at_most[row] <= max(tolerance, SAME * size)
                else "unknown",
            )
            for row in range(kept)
        )
        within = float(np.quantile(behind[:, :kept].max(axis=1), CONFIDENCE))
        within, sigma, tolerance = (self._clamped(each) for each in (within, surface.sigma, tolerance))
        return Profile(rows, best, within, sigma, tolerance, examples, self._pruned(powers))

    def _bounds(self, powers: Iterable[int]) -> dict[int, tuple[float, float]]:
        """log10 of the smallest and largest lr tried: by the power of ten of ε for a grid, of all for a sampler."""
        tried: dict[int, list[float]] = {power: [] for power in powers}
        for trial in self._arm:
            for power in [_power(trial)] if self._is_grid else tried:
                if power in tried:
                    tried[power].append(math.log10(trial.lr or 1.0))
        return {power: (min(lrs), max(lrs)) for power, lrs in tried.items()}

    def _pruned(self, powers: Sequence[int]) -> tuple[bool, bool]:
        beyond = ([], [])  # type: tuple[list[Trial], list[Trial]]
        for trial in self._arm:
            if _power(trial) < powers[0] or _power(trial) > powers[-1]:
                beyond[_power(trial) > powers[-1]].append(trial)
        below, above = (bool(part) and all(state_of(trial) == "pruned" for trial in part) for part in beyond)
        return below, above

    def _without_the_tail(self, edge: Sequence[bool], damping: Sequence[float | None], best: int) -> int:
        """How many ε remain without the largest ones whose best lr was not reached.

        Where the optimizer is immutable already, those beyond are the same one (at an lr in proportion).
        """
        last = len(edge)
        while last - 1 > best and edge[last - 1]:
            last -= 1
        return last if (damping[last - 1] or 0.0) >= 0.9 else len(edge)

    def _cost_of_half_a_decade(self, surface: Surface, bent: Bent, optimum: Point) -> float:
        lr, eps, beta2 = optimum
        values = -bent.back(
            -surface.mean(self._coordinates.of([(lr * step, eps, beta2) for step in (1.0, 10**-0.5, 10**0.5)]))
        )
        return float(values[0] - values[1:].mean())

    def _row(self, optimum: Point, drawn: Floats, behind: Floats, damping: float | None, state: State) -> Row:
        lr, eps, beta2 = optimum
        low, middle, high = (self._value(each) for each in (*np.quantile(drawn, [0.025, 0.975]), float(drawn.mean())))
        low, middle, high = sorted((low, middle, high))
        return Row(
            eps=float(f"1e{round(math.log10(eps))}"),
            lr=self._tried(lr),
            beta2=beta2,
            value=middle,
            low=low,
            high=high,
            behind=self._clamped(float(behind.mean())),
            error=self._clamped(float(1.96 * behind.std())),
            at_most=self._clamped(float(np.quantile(behind, CONFIDENCE))),
            damping=damping,
            state=state,
        )

    def _tried(self, lr: float) -> float:
        """The nearest lr that was tried, if those are points; else two significant digits."""
        tried = {trial.lr for trial in self._arm if trial.lr is not None}
        nearest = min(tried, key=lambda other: abs(math.log10(other / lr)))
        return nearest if len(tried) <= len(self._arm) / 2 else float(f"{lr:.1e}")

    def _value(self, drawn: float) -> float:
        """A drawn value in units of the metric."""
        return self._clamped(self._sign * (self._best + float(drawn)))

    def _clamped(self, value: float) -> float:
        found = value * self._unit  # Python's floats overflow to infinity without a warning
        return min(max(float(found), -sys.float_info.max), sys.float_info.max)


def _power(trial: Trial) -> int:
    return round(math.log10(trial.eps or 1.0))


def _point(trial: Trial) -> Point:
    return trial.lr or 1.0, trial.eps or 1.0, trial.beta2


def _by_power(trials: Sequence[Trial]) -> dict[int, list[int]]:
    """The indices of the trials, by the power of ten of their ε, ascending."""
    rows: dict[int, list[int]] = {}
    for index, trial in enumerate(trials):
        rows.setdefault(_power(trial), []).append(index)
    return dict(sorted(rows.items()))


def _merit(short: Floats) -> Floats:
    """Weights of trials by how good they are."""
    return np.asarray(np.exp(-short / (np.quantile(short, 0.25) + 1e-12)))


def _sharpest(hypotheses: Sequence[Floats], doubts: Sequence[float], short: Floats) -> int:
    """The coordinates in which the good cells have the most similar δ, by much where they are doubtful."""
    merit = _merit(short)

    def width(points: Floats, doubt: float) -> float:
        middle = float(merit @ points[:, 0] / merit.sum())
        return float(merit @ (points[:, 0] - middle) ** 2) * math.exp(-doubt)

    return min(range(len(hypotheses)), key=lambda index: width(hypotheses[index], doubts[index]))


def _ridge(points: Floats, short: Floats, rows: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """δ of the good cells with a similar damping, for each power of ten of ε."""
    merit, centers = _merit(short), {}
    for power, indices in rows.items():
        similar = np.exp(-(((points[:, 1] - np.median(points[list(indices), 1])) / NEIGHBOURHOOD) ** 2) / 2)
        weights = merit * similar + 1e-9
        centers[power] = float(weights @ points[:, 0] / weights.sum())
    return centers


def _near(distances: Floats, short: Floats, indices: Sequence[int], center: float) -> list[int]:
    """The cells of one ε near the ridge, and those on both sides of the best of them; the best first."""
    near = {index for index in indices if abs(distances[index] - center) <= WINDOW}
    near = near or {min(indices, key=lambda index: abs(distances[index] - center))}
    best = min(near, key=lambda index: short[index])
    for side in (-1, 1) if len(near) < ENOUGH else ():
        beyond = [index for index in indices if side * (distances[index] - distances[best]) > 0]
        # Without a worse cell on both sides, the best could lie anywhere beyond.
        if near.isdisjoint(beyond):
            near |= {index for index in beyond if abs(distances[index] - distances[best]) <= WINDOW}
    return sorted(near, key=lambda index: short[index])
