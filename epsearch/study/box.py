"""Where lr is searched if it is auto: in a box around the learning-rate test's suggestion, along the expected ridge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeResult
from epsearch.records.ridge import Ridge
from epsearch.study.space import Interval, Points, Ridged, decades, half_decades

LOWEST, HIGHEST = 1e-8, 1e3
"""The learning rates beyond which no search widens."""

WIDE = decades(1e-4, 1e-1)
"""The learning rates of a grid if the test suggests none."""


class Box(NamedTuple):
    """The bounds of a learning-rate test, moved to every ε by the probe's ridge."""

    probe: ProbeResult
    test: LrTest

    def at(self, eps: float) -> tuple[float, float]:
        """The lowest and the highest lr at ε. Without a suggestion, only the highest moves with ε."""
        at = self.test.eps or self.probe.range.lower
        shift = Ridge(self.probe, 1.0, at).lr(eps)
        return self.test.low * (1.0 if self.test.suggestion is None else shift), self.test.high * shift

    def excludes(self, lr: float, eps: float) -> bool:
        """Whether lr lies outside the box at ε, by more than a rounded half decade may."""
        low, high = self.at(eps)
        return not low / 1.01 <= lr <= high * 1.01

    def hull(self, eps: Sequence[float]) -> Interval:
        """The bounds that hold the box at each ε."""
        lows, highs = zip(*(self.at(each) for each in eps), strict=True)
        return Interval(float(f"{min(lows):.3g}"), float(f"{max(highs):.3g}"))

    def points(self, eps: Sequence[float]) -> Points | Ridged:
        """The learning rates of a grid: the half decades nearest to the ridge at each ε."""
        ridge = Ridge.of(self.probe, self.test)
        return WIDE if ridge is None else half_decades(eps, ridge.lr)
