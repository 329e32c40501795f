"""Best values over the other hyperparameters, and how they compare. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from epsearch.core.averages import difference
from epsearch.records.epsilon import power_of_ten
from epsearch.records.trial import Goal, Trial

Kind = Literal["immutable", "adaptable", "partial", "indifferent", "undecided"]


def profile(complete: Sequence[Trial], name: str, goal: Goal) -> dict[float, float]:
    """The best value for each value of one hyperparameter, to the nearest power of ten."""
    found: dict[float, float] = {}
    for trial in complete:
        if trial.value is not None and name in trial.cell:
            key = power_of(name, trial)
            found[key] = better(found.get(key, trial.value), trial.value, goal)
    return dict(sorted(found.items()))


def power_of(name: str, trial: Trial) -> float:
    """The trial's hyperparameter rounded to a power of ten (β₂: of 1 - β₂), to compare values that a sampler drew."""
    value = trial.cell[name]
    if name == "beta2":
        return round(1 - power_of_ten(round(math.log10(1 - value))), 15)
    return power_of_ten(round(math.log10(value)))


def better(one: float, other: float, goal: Goal) -> float:
    """The better of two values."""
    return max(one, other) if goal == "maximize" else min(one, other)


def shortfall(best: float, value: float, goal: Goal) -> float:
    """How far a value falls short of the best: 0 or more."""
    return difference(best, value) if goal == "maximize" else difference(value, best)
