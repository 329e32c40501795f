"""Exact percentiles of ẑ from bit counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsearch.probing.bit_counts import BitCounts, elements_in, in_chunks, layout_of
from epsearch.probing.sharding import sum_over_shards

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from epsearch.optimizers import Denominator


EXACT_BELOW = 1 << 20
"""Tensors with fewer elements get exact percentiles; larger ones within 8.5e-4 decades (for a square root)."""


def _locate(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The bin of the element at 0-based `rank`, and its rank inside it."""
    cumulative = np.cumsum(counts)
    place = int(np.searchsorted(cumulative, rank, side="right"))
    return place, rank - int(cumulative[place] - counts[place])


def _order_statistic(v: torch.Tensor, counts: BitCounts, rank: int) -> float:
    """The exact value of v at 0-based `rank` among its finite positive elements, found 16 bits at a time."""
    layout = layout_of(v)
    place, rank = _locate(counts.counts, rank)
    prefix, shift = place, layout.shift
    while shift:
        digits = min(shift, 16)
        shift -= digits
        found = np.zeros(1 << digits, dtype=np.int64)
        for bits, index in in_chunks(v):
            candidates = elements_in(bits, index, [place])
            candidates = candidates[(candidates > 0) & (candidates >> (shift + digits) == prefix)]
            found += np.bincount((candidates >> shift) & ((1 << digits) - 1), minlength=len(found))
        digit, rank = _locate(sum_over_shards(found, v), rank)
        prefix = prefix << digits | digit
    return layout.value(prefix)


def percentile(term: Denominator, counts: BitCounts, q: float) -> float:
    """The q-th percentile of ẑ over its finite positive elements, interpolated linearly between ranks in ẑ.

    Exact below `EXACT_BELOW` elements. Above, within half a bin but always on the correct side of the boundaries
    10**(k + 1/2), so the nearest power of ten is that of the exact percentile.
    """
    n = counts.measured
    position = q / 100 * (n - 1)
    ranks = [math.floor(position), math.ceil(position)]
    if n >= EXACT_BELOW:
        first, last = (_locate(counts.counts, rank)[0] for rank in ranks)
        low = _log10_z(term, float(counts.edges[first]))
        high = _log10_z(term, float(counts.edges[last + 1]))
        # Ranks in two different bins may be far apart: interpolating needs their values.
        if first == last and math.isfinite(low) and math.floor(low + 0.5) == math.floor(high + 0.5):
            return float(10 ** ((low + high) / 2))
    values = {rank: _order_statistic(term.v, counts, rank) for rank in set(ranks)}
    below, above = (10 ** _log10_z(term, values[rank]) for rank in ranks)
    return float(below + (above - below) * (position - ranks[0]))


def _log10_z(term: Denominator, v: float) -> float:
    return term.power * (math.log10(term.scale) + math.log10(v)) if v > 0 else -math.inf
