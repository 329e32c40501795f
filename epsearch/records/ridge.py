"""Where the best lr is expected for each ε: on a ridge through the plane of lr and ε."""

from __future__ import annotations

import math
from typing import NamedTuple

from epsearch.records.epsilon import half_decade
from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeResult


class Ridge(NamedTuple):
    """The lr of a test at one ε, moved to every other ε by the probe's `lr_shift`."""

    probe: ProbeResult
    lr_at: float
    """The expected best lr at `eps`."""
    eps: float

    @classmethod
    def of(cls, probe: ProbeResult, test: LrTest) -> Ridge | None:
        """The ridge through the test's suggestion; None if the test suggests none."""
        if test.suggestion is None:
            return None
        return cls(probe, test.suggestion, test.eps or probe.range.lower)

    def lr(self, eps: float) -> float:
        """The expected best lr at ε."""
        return float(self.lr_at * 10 ** (self.probe.lr_shift(eps) - self.probe.lr_shift(self.eps)))


def sgd_lrs(rate: float, decades: float = 1.0) -> list[float]:
    """The lr at which to search SGD with momentum: half decades, `decades` to both sides of `rate`.

    `rate` is lr*/ε, the best lr of an immutable optimizer divided by its ε, which is the same update (Table 5).
    """
    middle, steps = round(2 * math.log10(rate)), round(2 * decades)
    return [half_decade(index) for index in range(middle - steps, middle + steps + 1)]
