"""The bins that histograms of ẑ share, and their axis over log10 ẑ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epsearch.core.numbers import label
from epsearch.records.epsilon import power_of_ten
from epsearch.records.histogram import BINS_PER_DECADE, Histogram

FINE_PER_BIN = 5
"""Bins of a `Histogram` per bin of a figure, which has 10 per decade."""


def bins_over(histograms: Sequence[Histogram], lines: Sequence[float]) -> range:
    """The figure's bins that cover the histograms and the ε of all `lines`; bin k starts at 10**(k/10)."""
    ends = [(math.floor(math.log10(line) * 10), math.ceil(math.log10(line) * 10)) for line in lines]
    ends += [
        (histogram.start // FINE_PER_BIN, (histogram.start + len(histogram.counts) - 1) // FINE_PER_BIN + 1)
        for histogram in histograms
        if histogram.counts
    ]
    return range(min(low for low, _ in ends), max(high for _, high in ends))


def edges_of(bins: range) -> npt.NDArray[np.float64]:
    """(len(bins) + 1,) log10 of the edges of the figure's bins."""
    return np.arange(bins.start, bins.stop + 1) * FINE_PER_BIN / BINS_PER_DECADE


def shares_of(histogram: Histogram, bins: range) -> npt.NDArray[np.float64]:
    """(len(bins),) share of the histogram's elements in each of the figure's bins."""
    shares = np.zeros(len(bins))
    fine = histogram.start + np.arange(len(histogram.counts))
    np.add.at(shares, fine // FINE_PER_BIN - bins.start, np.array(histogram.counts, dtype=float))
    return shares / max(histogram.total, 1)


def decade_axis(edges: npt.NDArray[np.float64]) -> dict[str, object]:
    """A linear axis over log10 ẑ with ticks at decades; a log axis would make the bars unequally wide."""
    step = max(1, round((edges[-1] - edges[0]) / 12))
    decades = range(math.ceil(edges[0]), math.floor(edges[-1]) + 1, step)
    return {
        "tickangle": 0,
        "tickvals": list(decades),
        "ticktext": [label("eps", power_of_ten(decade)) for decade in decades],
    }
