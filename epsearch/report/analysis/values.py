"""Best values over the other hyperparameters, and differences of the metric in words. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from epsearch.core.averages import difference
from epsearch.records.epsilon import power_of_ten
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Goal, Trial

Kind = Literal["immutable", "adaptable", "partial", "indifferent", "undecided"]


def best_by(complete: Sequence[Trial], name: str, goal: Goal) -> dict[float, float]:
    """The best value for each value of one hyperparameter, to the nearest power of ten (β₂: of 1 - β₂)."""
    found: dict[float, float] = {}
    for trial in complete:
        if trial.value is not None and name in trial.cell:
            key = _power_of(name, trial)
            pick = max if goal == "maximize" else min
            found[key] = pick(found.get(key, trial.value), trial.value)
    return dict(sorted(found.items()))


def _power_of(name: str, trial: Trial) -> float:
    value = trial.cell[name]
    if name == "beta2":
        return round(1 - power_of_ten(round(math.log10(1 - value))), 15)
    return power_of_ten(round(math.log10(value)))


def shortfall(best: float, value: float, goal: Goal) -> float:
    """How far a value falls short of the best: 0 or more."""
    return difference(best, value) if goal == "maximize" else difference(value, best)


def amount(value: float, outcome: Outcome, error: float | None = None) -> str:
    """A difference of the metric to two digits, with its error: `1.3 ± 0.4 points` of an accuracy, else `0.013`."""
    is_share = "acc" in outcome.metric.lower() and all(0 <= (trial.value or 0.0) <= 1 for trial in outcome.trials)
    factor, unit = (100, " points") if is_share else (1, "")
    parts = [f"{factor * part:.2g}" for part in (value, error) if part is not None]
    return " ± ".join(parts) + unit
