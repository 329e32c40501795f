"""The values of an axis that a guided search tries: round ones first, finer ones when those are used up."""

from __future__ import annotations

import math

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Number = int | float


def is_numeric(distribution: BaseDistribution) -> bool:
    """Whether all values of a distribution are finite numbers."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in choices)
    return isinstance(distribution, FloatDistribution | IntDistribution)


def is_positive(distribution: BaseDistribution) -> bool:
    """Whether a numeric distribution has positive values only."""
    if isinstance(distribution, CategoricalDistribution):
        return min(distribution.choices) > 0  # type: ignore[operator, type-var]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low > 0


def points(distribution: BaseDistribution, density: int) -> list[Number]:
    """Values of a numeric distribution, ascending: its choices, or about `density` per decade between its bounds.

    A logarithmic axis has 10**(k / density), to four digits; a linear one 4 · density + 1 values at equal distances.
    """
    if isinstance(distribution, CategoricalDistribution):
        return sorted(distribution.choices)  # type: ignore[arg-type]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    if distribution.log:
        first, last = (round(math.log10(end) * density) for end in (low, high))
        raw = [float(f"{10 ** (k / density):.4g}") for k in range(first, last + 1)] or [math.sqrt(low * high)]
        # A narrow interval may lie between two of them.
        raw = [x for x in raw if low <= x <= high] or [math.sqrt(low * high)]
    else:
        raw = [float(x) for x in np.linspace(low, high, 4 * density + 1)]
    return sorted({_snapped(x, distribution) for x in raw})


def _snapped(value: float, distribution: FloatDistribution | IntDistribution) -> Number:
    """The nearest value of a distribution with steps."""
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None:
        return min(max(value, low), high)
    steps = min(round((value - low) / step), math.floor((high - low) / step + 1e-9))
    return low + steps * step


def position(value: Number, distribution: BaseDistribution) -> float:
    """Where a value lies on its axis: from 0 to 1, by rank among choices, by the logarithm on a logarithmic axis."""
    if isinstance(distribution, CategoricalDistribution):
        choices = sorted(distribution.choices)  # type: ignore[type-var]
        return float(np.interp(value, choices, np.linspace(0, 1, len(choices))))  # type: ignore[arg-type]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, x = float(distribution.low), float(distribution.high), float(value)
    if low == high:
        return 0.0
    if distribution.log:
        return math.log(max(x, 1e-300) / low) / math.log(high / low)
    return (x - low) / (high - low)
