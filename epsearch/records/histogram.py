"""Counts of ẑ by magnitude."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Self

from pydantic import model_validator

from epsearch.records.base import Count, Record

BINS_PER_DECADE = 50
"""Resolution of `Histogram`: edges at 10**(k/50), so every power of ten is an edge."""


class Histogram(Record):
    """Counts of ẑ in bins of equal width in log10: bin i holds 10**(i/50) <= z < 10**((i+1)/50).

    Only the occupied bins are kept: `counts[j]` belongs to bin `start + j`.
    """

    start: int = 0
    counts: list[Count] = []
    zeros: Count = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        # Bins beyond the range of floats would make huge figures.
        first, last = self.start // BINS_PER_DECADE, (self.start + len(self.counts)) // BINS_PER_DECADE
        if not -324 <= first <= last <= 309:
            raise ValueError(f"its bins reach from 1e{first} to 1e{last}, beyond what a float can hold")
        return self

    @property
    def total(self) -> int:
        """Elements counted, exact zeros included."""
        return sum(self.counts) + self.zeros

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of elements combined."""
        filled = [part for part in (self, other) if part.counts]
        zeros = self.zeros + other.zeros
        if not filled:
            return Histogram(zeros=zeros)
        start = min(part.start for part in filled)
        counts = [0] * (max(part.start + len(part.counts) for part in filled) - start)
        for part in filled:
            for index, count in enumerate(part.counts, start=part.start - start):
                counts[index] += count
        return Histogram(start=start, counts=counts, zeros=zeros)

    def above(self, eps: float) -> float:
        """Share of all elements with z > eps, 0 to 1; exact at powers of ten, interpolated in a bin elsewhere."""
        if not self.total:
            return math.nan
        position = math.log10(eps) * BINS_PER_DECADE - self.start
        # log10 of a power of ten, times 50, can be off the edge by a rounding error.
        if abs(position - round(position)) < 1e-9:
            position = round(position)
        first = math.floor(position)
        if first < 0:
            return sum(self.counts) / self.total
        if first >= len(self.counts):
            return 0.0
        partial = self.counts[first] * (1 - (position - first))
        return (sum(self.counts[first + 1 :]) + partial) / self.total

    def percentile(self, q: float) -> float:
        """The q-th percentile of z without exact zeros, to 1/50 of a decade; NaN if there are none."""
        rank, below = q / 100 * sum(self.counts), 0
        for index, count in enumerate(self.counts, start=self.start):
            if count and below + count >= rank:
                return float(10 ** ((index + (rank - below) / count) / BINS_PER_DECADE))
            below += count
        return math.nan

    def mean(self, function: Callable[[float], float]) -> float:
        """The mean of `function(z)` without exact zeros, with each bin's z at its middle; NaN if there are none."""
        middles = (10 ** ((index + 0.5) / BINS_PER_DECADE) for index in itertools.count(self.start))
        total = sum(count * function(z) for count, z in zip(self.counts, middles, strict=False) if count)
        return total / sum(self.counts) if any(self.counts) else math.nan
