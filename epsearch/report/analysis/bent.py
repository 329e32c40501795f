"""The scale on which values are modeled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from epsearch.report.analysis.surface import Floats


class Bent:
    """Shortfalls on a scale that is linear near the best and logarithmic far from it.

    A loss of 30 beside one of 0.2, or a cliff where lr is too high, would otherwise decide the scale of everything. The
    part that all cells of an ε share is bent apart from the rest, so that the profile over ε stays a sum with the
    cross-section over lr.
    """

    def __init__(self, window: Mapping[int, Sequence[int]], short: Floats) -> None:
        best = [float(short[indices[0]]) for indices in window.values()]
        # A single cell is lucky or not: the level of an ε is the median with its neighbours.
        last = len(best) - 1
        near = [best[max(0, min(i - 1, last - 2)) : max(3, min(i + 2, last + 1))] for i in range(len(best))]
        self.levels = {power: float(np.median(values)) for power, values in zip(window, near, strict=True)}
        apart = [
            max(float(short[index]) - self.levels[power], 0.0)
            for power, indices in window.items()
            for index in indices[1:]
        ]
        self._cliff = 1.5 * float(np.median(apart)) if apart else 0.0
        self._awful = 2 * float(np.median(list(self.levels.values()))) + 2 * self._cliff

    def of(self, short: float, power: int) -> float:
        """The bent value of a cell: 0 or less."""
        level = self.levels[power]
        return -(_bend(min(short, level), self._awful) + _bend(max(short - level, 0.0), self._cliff))

    def back(self, bent: Floats) -> Floats:
        """The shortfall of a bent value near an optimum."""
        if not self._awful:
            return bent
        far = self._awful * np.exp(np.clip(bent / self._awful - 1, 0, 30))
        return np.asarray(np.where(bent < self._awful, bent, far))


def _bend(short: float, limit: float) -> float:
    return short if short <= limit or not limit else limit * (1 + math.log(short / limit))
