"""The scale of values on the first screen: from the best to chance, and finer near the best."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from epsearch.core.averages import difference
from epsearch.records.trial import Goal
from epsearch.report.figures.colors import colors_of
from epsearch.report.figures.drawable import LIMIT

NOT_LEARNING = 0.03
"""Values in the last part of the scale before chance do not count as learning."""

LEAST_ERROR = 0.05
"""An error this share of the best one, or less, is not resolved."""


SIGMAS = 6.0
"""The scale is at least so many times the noise of one training long, so that noise does not show in full color."""


@dataclass(frozen=True)
class Scale:
    """Places from 0, the worst value on the scale, to 1, the best.

    `kind`: log for positive values to minimize, error (log of 1 - value) for shares to maximize, linear for others.
    `chance` is the value of an untrained model, None if unknown. Errors and values below `floor` are not resolved.
    """

    kind: Literal["log", "error", "linear"]
    best: float
    worst: float
    goal: Goal
    chance: float | None = None
    floor: float = 0.0

    def place(self, value: float) -> float:
        """The place of a value; below 0 or above 1 beyond the ends."""
        return self._share(value, self.worst)

    def learns(self, value: float) -> bool:
        """Whether a value is better than chance; True if chance is unknown."""
        return self.chance is None or self._share(value, self.chance) > NOT_LEARNING

    def ticks(self, fewest: int, values: Sequence[float] = ()) -> list[tuple[float, str]]:
        """At least `fewest` round values with their places, from the worst to the best (default: all of the scale)."""
        ends = (min(values), max(values)) if values else (min(self.best, self.worst), max(self.best, self.worst))
        found = sorted((self.place(value), f"{value:.4g}") for value in self._round(*ends, fewest))
        # From the best on, those that are far enough from each other to be read.
        apart = abs(self.place(ends[0]) - self.place(ends[1])) * 0.75 / (fewest + 1)
        kept: list[tuple[float, str]] = []
        for place, text in reversed(found):
            if not kept or kept[-1][0] - place > apart:
                kept.append((place, text))
        return kept[::-1]

    def _share(self, value: float, zero: float) -> float:
        best, none, here = (self._bent(each) for each in (self.best, zero, value))
        return (here - none) / (best - none) if best != none else 1.0

    def _bent(self, value: float) -> float:
        """Higher for better values, and evenly spaced on the scale."""
        if self.kind == "linear":
            # In units of the larger end: the difference of two large values can overflow.
            sign = 1 if self.goal == "maximize" else -1
            return sign * value / (max(abs(self.best), abs(self.worst)) or 1.0)
        return -math.log(max(1 - value if self.kind == "error" else value, self.floor))

    def _round(self, low: float, high: float, fewest: int) -> list[float]:
        if self.kind != "linear":
            powers = range(math.floor(math.log10(self.floor)), math.ceil(math.log10(high + 1)) + 1)
            for digits in ((1, 2, 5), (1, 2, 3, 5), (1, 1.5, 2, 3, 4, 5, 7)):
                coarse = [digit * 10.0**power for power in powers for digit in digits]
                values = [1 - each if self.kind == "error" else each for each in coarse]
                if len(inside := [value for value in values if low <= value <= high]) >= fewest:
                    return inside
        return _steps(low, high, fewest)


def _steps(low: float, high: float, fewest: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`."""
    span = high / 2 - low / 2
    if not span > 0 or not math.isfinite(span):
        return [low]
    power = 10.0 ** math.floor(math.log10(span) + 0.3)
    for step in (power, power / 2, power / 5, power / 10):
        values = [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)][:200]
        if len(values) >= fewest:
            return values
    return [low, high]


def scale_of(values: Sequence[float], goal: Goal, chance: float | None, sigma: float | None) -> Scale | None:
    """The scale from the best of `values` to the worst, or to chance if that is better than the worst.

    If chance is unknown, it is clipped as `colors_of` does. `sigma` is the noise of one training, for which it may be
    longer. None if there are no values.
    """
    colors = colors_of(values, goal)
    if colors is None:
        return None
    sign = 1 if goal == "maximize" else -1
    best, worst = (colors.high, colors.low) if sign > 0 else (colors.low, colors.high)
    if chance is not None:
        worst = sign * max(sign * chance, min(sign * value for value in values))
    if sigma is not None:
        worst = sign * min(
            sign * worst, sign * difference(best, sign * SIGMAS * min(sigma, sys.float_info.max / SIGMAS))
        )
    if goal == "minimize" and best > 1 / LIMIT and worst < LIMIT:
        return Scale("log", best, worst, goal, chance, best * LEAST_ERROR)
    if goal == "maximize" and all(0 <= value <= 1 for value in values):
        # Without an error, the next best one counts.
        error = 1 - best or min((1 - value for value in values if value < 1), default=1e-3)
        return Scale("error", best, worst, goal, chance, error * LEAST_ERROR)
    return Scale("linear", best, worst, goal, chance)
