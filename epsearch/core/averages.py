"""Means, spreads and differences of any finite floats, without overflow."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """The mean of one or more finite values; always finite."""
    return statistics.mean(values)  # exact fractions inside, where fmean adds floats


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation, at most the largest float; None for fewer than two values."""
    if len(values) < 2:
        return None
    try:
        return statistics.stdev(values)
    except OverflowError:
        return sys.float_info.max


def difference(one: float, other: float) -> float:
    """`one - other`, clamped to the range of floats."""
    return min(max(one - other, -sys.float_info.max), sys.float_info.max)


def root_mean_square(values: Sequence[float]) -> float:
    """Root mean square of one or more finite values; never larger than the largest magnitude."""
    largest = max(map(abs, values))
    if not largest:
        return 0.0
    share = math.hypot(*(value / largest for value in values)) / math.sqrt(len(values))
    return largest * min(share, 1.0)


def smoothed(values: Sequence[float], keep: float = 0.9) -> list[float]:
    """The exponential moving average up to each value, corrected for its start at zero; `keep` is the decay.

    Of the medians of each value and its neighbors, so that a single outlier does not count.
    """
    padded = [*values[:1], *values, *values[-1:]]
    average, averages = 0.0, []
    for count in range(1, len(values) + 1):
        average = keep * average + (1 - keep) * statistics.median(padded[count - 1 : count + 2])
        averages.append(average / (1 - keep**count))
    return averages
