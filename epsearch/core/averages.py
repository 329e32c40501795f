"""Means, spreads and differences of metrics, which may be any finite floats: so are the results."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """The mean of one or more finite values; it lies between them, so it is always finite."""
    return statistics.mean(values)  # exact fractions inside, where fmean adds floats


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None of fewer than two. At most the largest float, where it would be beyond."""
    if len(values) < 2:
        return None
    try:
        return statistics.stdev(values)
    except OverflowError:
        return sys.float_info.max


def difference(one: float, other: float) -> float:
    """`one - other`, as far as a float reaches."""
    return min(max(one - other, -sys.float_info.max), sys.float_info.max)


def root_mean_square(values: Sequence[float]) -> float:
    """The root of the mean of squares of one or more finite values; it is no larger than the largest."""
    largest = max(map(abs, values))
    if not largest:
        return 0.0
    share = math.hypot(*(value / largest for value in values)) / math.sqrt(len(values))
    return largest * min(share, 1.0)
