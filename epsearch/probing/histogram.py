"""Percentiles and histograms of ẑ, by counting the bits of v.

A positive float's bits are ordered like its value, so counting its upper bits (exponent and 7 of the mantissa)
is a log-spaced histogram made in one pass over the memory, whose bins are 1/128 of an octave wide at most; and
ẑ = (scale · v) ** power is monotone in v. Counts bracket a percentile within one bin; the value itself is looked
up inside that bin where the tensor is small or where the bracket crosses a boundary of rounding to powers of ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsearch.records import BINS_PER_DECADE, Histogram, Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from epsearch.optimizers import Denominator

CHUNK = 1 << 20
"""Elements counted at a time: bounds the extra memory, and stays in the cache."""

EXACT_BELOW = 1 << 20
"""Tensors of fewer elements get exact percentiles; larger ones within 8.5e-4 decades (for a square root)."""


@dataclass(frozen=True)
class _Layout:
    """How a dtype's bits fall into bins: bin = bits >> shift, of which `bins` are finite and positive."""

    integer: torch.dtype
    shift: int
    bins: int
    edges: NDArray[np.float64]
    """The values at which the bins begin, and the last ends: (bins + 1,)."""

    @property
    def width(self) -> int:
        """All bins: the finite positive ones, infinity and NaN, and the same again for negative numbers."""
        return 2 * (self.bins + (1 << 7))


def _layout(dtype: torch.dtype) -> _Layout:
    if dtype == torch.float64:
        # 11 exponent bits and 7 of the mantissa.
        bins = 0x7FF << 7
        edges = (np.arange(bins, dtype=np.uint64) << np.uint64(45)).view(np.float64)
        return _Layout(torch.int64, 45, bins, np.append(edges, np.finfo(np.float64).max))
    # 8 exponent bits and 7 of the mantissa: all of bfloat16, the upper half of float32.
    bins = 0xFF << 7
    edges = (np.arange(bins, dtype=np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    shift = 0 if dtype == torch.bfloat16 else 16
    integer = torch.int16 if dtype == torch.bfloat16 else torch.int32
    return _Layout(integer, shift, bins, np.append(edges, float(np.finfo(np.float32).max)))


_LAYOUTS = {dtype: _layout(dtype) for dtype in (torch.bfloat16, torch.float32, torch.float64)}


def _chunks(v: torch.Tensor) -> list[torch.Tensor]:
    """Flat pieces of v, in a dtype whose bits are counted (float16 is widened, exactly)."""
    pieces = torch.split(v.detach().reshape(-1), CHUNK)
    return [piece if piece.dtype in _LAYOUTS else piece.float() for piece in pieces]


def _bins(chunk: torch.Tensor, layout: _Layout) -> torch.Tensor:
    """The bin of each element; the sign bit puts negative numbers above all finite positive ones."""
    return (chunk.view(layout.integer) >> layout.shift).int().bitwise_and_(layout.width - 1)


@dataclass(frozen=True)
class BitCounts:
    """How many elements of v fall into each bin of its bits."""

    counts: NDArray[np.int64]
    """(bins,): finite positive elements."""
    zeros: int
    nonfinite: int
    """NaN, infinite or negative: no ẑ."""
    edges: NDArray[np.float64]

    @property
    def measured(self) -> int:
        """Finite positive elements."""
        return int(self.counts.sum())


def count_bits(v: torch.Tensor) -> BitCounts:
    """Count the upper bits of v, any shape, float16 to float64, on any device."""
    layout = _LAYOUTS[v.dtype if v.dtype in _LAYOUTS else torch.float32]
    total = torch.zeros(layout.width, dtype=torch.int64, device=v.device)
    plus, minus = (torch.zeros((), dtype=torch.int64, device=v.device) for _ in range(2))
    for chunk in _chunks(v):
        total += torch.bincount(_bins(chunk, layout), minlength=layout.width)
    counts = total.cpu().numpy()
    # +0 shares its bin with the tiniest subnormals, -0 with their negatives: told apart only if any is there.
    if counts[0] or counts[layout.width // 2]:
        for chunk in _chunks(v):
            zero, negative = chunk == 0, chunk.view(layout.integer) < 0
            plus += (zero & ~negative).sum()
            minus += (zero & negative).sum()
    positive = counts[: layout.bins].copy()
    positive[0] -= int(plus)
    nonfinite = int(counts[layout.bins :].sum()) - int(minus)
    return BitCounts(positive, int(plus) + int(minus), nonfinite, layout.edges)


def _order_statistics(v: torch.Tensor, counts: BitCounts, ranks: list[int]) -> list[float]:
    """The values of v at 0-based `ranks` among its finite positive elements, exactly."""
    layout = _LAYOUTS[v.dtype if v.dtype in _LAYOUTS else torch.float32]
    cumulative = np.cumsum(counts.counts)
    bins = [int(np.searchsorted(cumulative, rank, side="right")) for rank in ranks]
    low, high = min(bins), max(bins)
    inside = []
    for chunk in _chunks(v):
        index = _bins(chunk, layout)
        inside.append(chunk[(index >= low) & (index <= high) & (chunk > 0)])
    values = torch.cat(inside).double().sort().values
    before = int(cumulative[low - 1]) if low else 0
    return [float(values[rank - before]) for rank in ranks]


def percentile(term: Denominator, counts: BitCounts, q: float) -> float:
    """The q-th percentile of ẑ over its finite positive elements, interpolated linearly between ranks in ẑ.

    Exact below `EXACT_BELOW` elements; above, within half a bin, but always on the right side of the boundaries
    10**(k + 1/2), so that its nearest power of ten is the exact one's.
    """
    n = counts.measured
    position = q / 100 * (n - 1)
    ranks = [math.floor(position), math.ceil(position)]
    if n >= EXACT_BELOW:
        cumulative = np.cumsum(counts.counts)
        first, last = (int(np.searchsorted(cumulative, rank, side="right")) for rank in ranks)
        low = _log10_z(term, float(counts.edges[first]))
        high = _log10_z(term, float(counts.edges[last + 1]))
        # Ranks in two bins may lie far apart: what is between them is a matter of values, not of bins.
        if first == last and math.isfinite(low) and math.floor(low + 0.5) == math.floor(high + 0.5):
            return float(10 ** ((low + high) / 2))
    below, above = (10 ** _log10_z(term, value) for value in _order_statistics(term.v, counts, ranks))
    return float(below + (above - below) * (position - ranks[0]))


def _log10_z(term: Denominator, v: float) -> float:
    return term.power * (math.log10(term.scale) + math.log10(v)) if v > 0 else -math.inf


def histogram(term: Denominator, counts: BitCounts) -> Histogram:
    """ẑ in the bins of `records.Histogram`, from the counts of v's bits.

    A bit bin that a power of ten cuts is looked into, so that shares above powers of ten are exact; one that another
    edge cuts is shared out in proportion (in log10): its width is 0.0017 decades of √v at most.
    """
    occupied = np.flatnonzero(counts.counts)
    if occupied.size == 0:
        return Histogram(zeros=counts.zeros)
    first, last = int(occupied[0]), int(occupied[-1])
    edges = counts.edges[first : last + 2].copy()
    if edges[0] == 0:
        edges[0] = np.finfo(np.float64 if term.v.dtype == torch.float64 else np.float32).smallest_subnormal
    log_z = term.power * (math.log10(term.scale) + np.log10(edges))
    start = math.floor(log_z[0] * BINS_PER_DECADE)
    stop = math.ceil(log_z[-1] * BINS_PER_DECADE)
    cumulative = np.concatenate([[0], np.cumsum(counts.counts[first : last + 1])])
    decades = np.arange(math.ceil(log_z[0]), math.floor(log_z[-1]) + 1)
    below = _count_below(term.v, counts, 10.0 ** (decades / term.power) / term.scale)
    places, order = np.unique(np.concatenate([decades, log_z]), return_index=True)
    known = np.maximum.accumulate(np.concatenate([below, cumulative])[order])
    at = np.interp(np.arange(start, stop + 1) / BINS_PER_DECADE, places, known)
    return Histogram(start=start, counts=np.diff(np.rint(at).astype(np.int64)).tolist(), zeros=counts.zeros)


def _count_below(v: torch.Tensor, counts: BitCounts, limits: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many finite positive elements of v are below each of the ascending `limits`, exactly: (limits,)."""
    cut = np.searchsorted(counts.edges, limits, side="right") - 1
    bins = len(counts.counts)
    below = np.concatenate([[0], np.cumsum(counts.counts)])[np.minimum(cut, bins)]
    # Bins tell, except where a limit lies inside one that is occupied: there the elements are compared.
    inside = np.flatnonzero(np.append(counts.counts, 0)[np.minimum(cut, bins)])
    if inside.size:
        layout = _LAYOUTS[v.dtype if v.dtype in _LAYOUTS else torch.float32]
        chosen = torch.zeros(layout.width, dtype=torch.bool)
        chosen[cut[inside]] = True
        chosen, exact = chosen.to(v.device), torch.from_numpy(limits[inside]).to(v.device)
        found = torch.zeros(len(inside), dtype=torch.int64, device=v.device)
        for chunk in _chunks(v):
            values = chunk[chosen.index_select(0, _bins(chunk, layout))]
            values = values[values > 0].double()
            found += torch.stack([(values < limit).sum() for limit in exact])
        # Among the elements found are those of chosen bins below: they are in `below` already.
        lower = [counts.counts[np.unique(cut[inside][cut[inside] < cut[i]])].sum() for i in inside]
        below[inside] += found.cpu().numpy() - np.array(lower)
    return below


def measure_layer(name: str, term: Denominator, percentiles: tuple[float, float]) -> Layer:
    """What the record keeps of one tensor's ẑ; of a complex one, real and imaginary parts are elements."""
    if term.v.is_complex():
        term = term._replace(v=torch.view_as_real(term.v))
    counts = count_bits(term.v)
    low, high = (percentile(term, counts, q) if counts.measured else None for q in percentiles)
    return Layer(
        name=name,
        numel=term.v.numel(),
        zeros=counts.zeros,
        nonfinite=counts.nonfinite,
        p2=low,
        p98=high,
        histogram=histogram(term, counts),
    )
