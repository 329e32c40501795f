"""Values in units of the best one, higher for better trials."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial

FAR = 1e9
"""Units of the best value. A loss far beyond them has diverged, and its square would swamp all others."""


class Scale:
    """The scale of a study with at least one complete trial.

    Attributes:
        unit: The best value's size, in units of the metric: values near the limit of floats would overflow in
            differences and squares.
        best: The best value on this scale.
    """

    def __init__(self, outcome: Outcome, complete: Sequence[Trial]) -> None:
        self._sign = 1.0 if outcome.goal == "maximize" else -1.0
        unit = abs(outcome.best.value or 0.0) if outcome.best is not None else 0.0
        self.unit = unit or statistics.median(abs(trial.value or 0.0) for trial in complete) or 1.0
        self.best = max(self.of(trial) for trial in complete)

    def of(self, trial: Trial) -> float:
        """The value of a trial; beyond a billion, all are equally bad."""
        return min(max(self._sign * (trial.value or 0.0) / self.unit, -FAR), FAR)

    def value(self, beyond: float) -> float:
        """What lies that far beyond the best, in units of the metric."""
        return self.amount(self._sign * (self.best + beyond))

    def amount(self, difference: float) -> float:
        """A difference in units of the metric."""
        # Python's floats overflow to infinity without a warning, unlike NumPy's.
        return min(max(float(difference) * self.unit, -sys.float_info.max), sys.float_info.max)
