"""How much of an optimizer's update ε takes, by class of tensors.

The update is divided by (ẑ + ε) ** r instead of ẑ ** r, with r = 1 where ε is outside the root and 1/2 inside it. The
share that ε takes from an element's update is therefore 1 - (ẑ / (ẑ + ε)) ** r, which is ε / (ẑ + ε) for r = 1.
"""

from __future__ import annotations

import math

from epsearch.records.epsilon import power_of_ten
from epsearch.records.histogram import BINS_PER_DECADE, Histogram

APART = 2
"""Decades without an element below which ẑ is rounding noise.

Some gradients are zero in exact arithmetic, such as those of the biases of attention keys and of biases just before a
normalization. In float32 their ẑ is 4 to 6 decades below the gradients they come from, with nothing between; gradients
that are merely small trail off.
"""

SMALLEST, LARGEST = -45, 38
"""Exponents between which `harmless` searches: those of float32."""


def share_taken(histogram: Histogram, eps: float, root: float) -> float:
    """Mean share of the update that ε takes, 0 to 1, over all elements but exact zeros; NaN if there are none."""
    # LAMB rescales the update, root = 0, but ε still changes the proportions in it as it does outside a root.
    power = root or 1.0
    return histogram.mean(lambda z: 1 - (z / (z + eps)) ** power)


def harmless(histogram: Histogram, root: float, tolerance: float) -> float:
    """The largest power of ten that takes at most `tolerance` of the update."""
    for exponent in range(LARGEST, SMALLEST, -1):
        if share_taken(histogram, power_of_ten(exponent), root) <= tolerance:
            return power_of_ten(exponent)
    return power_of_ten(SMALLEST)


def noise_below(histogram: Histogram, bulk: float) -> float:
    """The ẑ below which the elements of this histogram are rounding noise; 0 if none are.

    `bulk` is a ẑ that is not noise: a lower percentile of all elements of the model.
    """
    bottom = math.floor(math.log10(bulk) * BINS_PER_DECADE)
    empty = 0
    for index in range(bottom, histogram.start - 1, -1):
        place = index - histogram.start
        if place < len(histogram.counts) and histogram.counts[place]:
            if empty >= APART * BINS_PER_DECADE:
                return float(10 ** ((index + 1) / BINS_PER_DECADE))
            empty = 0
        else:
            empty += 1
    return 0.0


def without(histogram: Histogram, below: float) -> Histogram:
    """The histogram without elements below that ẑ."""
    if not below:
        return histogram
    cut = max(0, round(math.log10(below) * BINS_PER_DECADE) - histogram.start)
    return Histogram(start=histogram.start + cut, counts=histogram.counts[cut:], zeros=histogram.zeros)
