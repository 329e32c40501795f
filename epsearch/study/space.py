"""The constrained space: the probe's range and the study's `search` section become axes, axes become cells.

Pure functions, without torch, optuna or ray.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from epsearch.records.epsilon import half_decade, power_of_ten

NEAREST = 3
"""Values of lr that a grid tries at each ε where lr is auto."""


@dataclass(frozen=True)
class Points:
    """A finite set of values, ascending."""

    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Interval:
    """Log-uniform between two positive ends (beta2: log-uniform in 1 - beta2)."""

    low: float
    high: float


@dataclass(frozen=True)
class Ridged:
    """As many values of lr for each ε, those nearest to the expected ridge first."""

    at: Mapping[float, tuple[float, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.at.values())))


Axis = Points | Interval | Ridged
Space = Mapping[str, Axis]
"""The axes of one optimizer by name: lr, eps and beta2, or only lr for sgd_momentum."""


def exponent_of(value: float) -> int | None:
    """k if `value` is 10**k (relative tolerance 1e-9), else None."""
    if not (value > 0 and math.isfinite(value)):
        return None
    exponent = round(math.log10(value))
    return exponent if math.isclose(value, power_of_ten(exponent), rel_tol=1e-9) else None


def decades(low: float, high: float) -> Points:
    """Every power of ten from low to high.

    Raises:
        ValueError: an end is not a power of ten, or low is above high.
    """
    first, last = exponent_of(low), exponent_of(high)
    if first is None or last is None or first > last:
        raise ValueError(f"{low:g} to {high:g} is not an ascending range of powers of ten")
    return Points(tuple(power_of_ten(exponent) for exponent in range(first, last + 1)))


def half_decades(eps: Sequence[float], ridge: Callable[[float], float]) -> Ridged:
    """The `NEAREST` half decades of lr to the ridge at each ε."""
    near: dict[float, tuple[float, ...]] = {}
    for each in eps:
        place = 2 * math.log10(ridge(each))
        around = sorted(range(round(place) - NEAREST, round(place) + NEAREST + 1), key=lambda k: (abs(k - place), k))
        near[each] = tuple(half_decade(index) for index in around[:NEAREST])
    return Ridged(near)


def beta2_decades(low: float, high: float) -> Points:
    """β₂ from low to high in powers of ten of 1 - β₂: 0.9, 0.99, 0.999 …

    Raises:
        ValueError: 1 - low or 1 - high is not a power of ten, or low is above high.
    """
    complements = decades(round(1 - high, 15), round(1 - low, 15)).values
    return Points(tuple(beta2_of(complement) for complement in reversed(complements)))


def beta2_of(complement: float) -> float:
    """β₂ from 1 - β₂, without rounding errors (0.999, not 0.9990000000000001)."""
    return round(1 - complement, 15)


def auto_beta2(batches_per_epoch: int, beta1: float) -> float:
    """The smallest β₂ = 1 - 10**-k that Section 4.2 allows.

    1/(1-β₂) must be at least the number of batches of an epoch, so that v averages over the whole dataset
    (Penn TreeBank's 668 batches: 0.999); and β₂ must be well above β₁, read here as
    1 - β₂ <= (1 - β₁) / 10 ([41] in the paper).
    """
    if batches_per_epoch < 1 or not 0 <= beta1 < 1:
        raise ValueError(f"needs batches_per_epoch >= 1 and 0 <= beta1 < 1, not {batches_per_epoch}, {beta1}")
    # Without the 1e-9, rounding in log10 would move exact powers of ten (1000 batches) up a decade.
    covers_epoch = math.ceil(math.log10(batches_per_epoch) - 1e-9)
    above_beta1 = math.ceil(-math.log10((1 - beta1) / 10) - 1e-9)
    return beta2_of(power_of_ten(-max(covers_epoch, above_beta1, 1)))


def cells(space: Space) -> list[dict[str, float]]:
    """Every combination of the axes' points, ordered so that any first part of it is spread over the space.

    The order starts in the middle. In any first part, the values of an axis occur equally often, plus or minus one.
    Where lr depends on ε, the cells with the nearest lr to the ridge come first, then those with the second nearest.
    The order is deterministic.

    Raises:
        ValueError: an axis is continuous.
    """
    lr = space.get("lr")
    if isinstance(lr, Ridged):
        others = cells({name: axis for name, axis in space.items() if name != "lr"})
        return [{"lr": lr.at[cell["eps"]][rank], **cell} for rank in range(len(lr)) for cell in others]
    points: list[Sequence[float]] = []
    for name, axis in space.items():
        assert not isinstance(axis, Ridged), "only lr depends on eps"
        if isinstance(axis, Interval):
            raise ValueError(f"{name} is continuous: it has no cells")
        points.append(axis.values)
    sizes = [len(values) for values in points]
    total = math.prod(sizes)
    return [
        {name: values[index] for name, values, index in zip(space, points, _spread(number, sizes), strict=True)}
        for number in range(total)
    ]


def _spread(number: int, sizes: Sequence[int]) -> list[int]:
    """The indices of a cell in the order of `cells`.

    All axes cycle through their values together. When an axis and those before it return to their start at the same
    time, it skips ahead by one value, so that no cell repeats.
    """
    indices, inner = [], 1
    for axis, size in enumerate(sizes):
        within = number % (inner * size)
        turn = within + within // math.lcm(inner, size)
        indices.append(_round(size, axis)[turn % size])
        inner *= size
    return indices


@functools.cache
def _round(size: int, axis: int) -> list[int]:
    """All indices of an axis: the middle, the ends, then repeatedly the middle of the largest gap.

    Each axis has a different order, mirrored or shifted, so that axes of the same length do not move in step.
    """
    order = list(dict.fromkeys([(size - 1) // 2, size - 1, 0]))
    gaps = [(left - right, left, right) for left, right in itertools.pairwise(sorted(order))]
    heapq.heapify(gaps)
    while len(order) < size:
        _, left, right = heapq.heappop(gaps)
        middle = (left + right) // 2
        order.append(middle)
        for gap in ((left, middle), (middle, right)):
            heapq.heappush(gaps, (gap[0] - gap[1], *gap))
    shift = 1 + axis // 2 % max(1, size - 1)
    order = [order[0], *order[shift:], *order[1:shift]]
    return [size - 1 - index for index in order] if axis % 2 else order
