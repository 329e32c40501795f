"""The size of a test set, from the accuracies measured on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

MOST = 60_000


def examples_of(values: Sequence[float], metric: str) -> int | None:
    """The number of examples of which all `values` are shares, if `metric` is an accuracy; None if there is none.

    347 and 348 of 360 correct are 0.96389 and 0.96667: only multiples of 1/360 are both.
    """
    different = sorted(set(values))
    if "acc" not in metric.lower() or len(different) < 4 or not 0 <= different[0] <= different[-1] <= 1:
        return None
    number = 1
    for value in different:
        share = Fraction(value).limit_denominator(MOST)
        # Single precision has 7 digits.
        if abs(float(share) - value) > 1e-7:
            return None
        number = math.lcm(number, share.denominator)
        if number > MOST:
            return None
    return number
