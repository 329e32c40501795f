"""Percentiles and histograms of ẑ, by counting the bits of v.

A positive float's bits are ordered like its value, so counting its upper bits (exponent and 7 of the mantissa)
is a log-spaced histogram made in one pass over the memory, whose bins are 1/128 of an octave wide at most; and
ẑ = (scale · v) ** power is monotone in v. Counts bracket a percentile within one bin; its value is found by counting
the lower bits, too, where the tensor is small or where the bracket crosses a boundary of rounding to powers of ten.
Counts add up: of a tensor that is spread over ranks each counts its part, and nothing but counts is exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from epsearch.probing.sharding import local_part, sum_over_shards
from epsearch.records import BINS_PER_DECADE, Histogram, Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from epsearch.optimizers import Denominator

CHUNK = 1 << 18
"""Elements counted at a time: bounds the extra memory, and stays in the cache."""

GPU_CHUNK = 1 << 22
"""The same on a GPU, where starting an operation costs more than a pass over a million elements."""

EXACT_BELOW = 1 << 20
"""Tensors of fewer elements get exact percentiles; larger ones within 8.5e-4 decades (for a square root)."""


@dataclass(frozen=True)
class _Layout:
    """How a dtype's bits fall into bins: bin = bits >> shift, of which `bins` are finite and positive.

    Infinity and NaN come after them, in `spare` more. With its sign bit set, a number's bin is negative.
    """

    dtype: torch.dtype
    integer: torch.dtype
    index: torch.dtype
    """The smallest that a bin fits into."""
    shift: int
    bins: int
    edges: NDArray[np.float64]
    """The values at which the bins begin, and the last ends: (bins + 1,)."""
    spare: int = 1 << 7

    def bits(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bits of the least number of this dtype that is not below each of `values`, positive and finite."""
        if self.dtype == torch.float64:
            return values.view(np.int64)
        single = values.astype(np.float32)
        single = np.where(single < values, np.nextafter(single, np.float32(np.inf)), single)
        bits = single.view(np.int32).astype(np.int64)
        return bits if self.shift else -(-bits >> 16)

    def value(self, bits: int) -> float:
        """The number whose bits these are."""
        return float(torch.tensor(bits, dtype=self.integer).view(self.dtype))


def _layout(dtype: torch.dtype) -> _Layout:
    if dtype == torch.float64:
        # 11 exponent bits and 7 of the mantissa.
        bins = 0x7FF << 7
        edges = (np.arange(bins, dtype=np.uint64) << np.uint64(45)).view(np.float64)
        return _Layout(dtype, torch.int64, torch.int32, 45, bins, np.append(edges, np.finfo(np.float64).max))
    # 8 exponent bits and 7 of the mantissa: all of bfloat16, the upper half of float32.
    bins = 0xFF << 7
    edges = np.append((np.arange(bins, dtype=np.uint32) << np.uint32(16)).view(np.float32), np.finfo(np.float32).max)
    integer, shift = (torch.int16, 0) if dtype == torch.bfloat16 else (torch.int32, 16)
    return _Layout(dtype, integer, torch.int16, shift, bins, edges.astype(np.float64))


_LAYOUTS = {dtype: _layout(dtype) for dtype in (torch.bfloat16, torch.float32, torch.float64)}


def _layout_of(v: torch.Tensor) -> _Layout:
    return _LAYOUTS.get(v.dtype, _LAYOUTS[torch.float32])


def _chunks(v: torch.Tensor) -> Iterator[tuple[Any, Any]]:
    """The bits of the elements here, and their bins: flat pieces of v (float16 is widened, exactly).

    On the CPU they are NumPy arrays, which are compared and selected from many times as fast, and by one thread:
    PyTorch's wait for each other where the machine is busy. Elsewhere they are tensors; both are used alike.
    """
    layout = _layout_of(v)
    v = local_part(v.detach())
    # The order of elements is of no account: reading them as they lie in memory needs no copy.
    v = v.permute(sorted(range(v.dim()), key=v.stride, reverse=True)).reshape(-1)
    for piece in torch.split(v, CHUNK if v.device.type == "cpu" else GPU_CHUNK):
        bits = piece.to(layout.dtype).view(layout.integer)
        index = torch.empty_like(bits, dtype=layout.index)
        if v.device.type == "cpu":
            np.right_shift(bits.numpy(), layout.shift, out=index.numpy(), casting="unsafe")
            yield bits.numpy(), index.numpy()
        else:
            yield bits, index.copy_(bits >> layout.shift)


def _count(chosen: Any) -> int:
    return int(chosen.sum() if isinstance(chosen, torch.Tensor) else np.count_nonzero(chosen))


def _inside(bits: Any, index: Any, bins: Sequence[int]) -> NDArray[Any]:
    """The bits of the elements in any of `bins`."""
    chosen = index == bins[0]
    for other in bins[1:]:
        chosen |= index == other
    found: NDArray[Any] = torch.as_tensor(bits[chosen]).cpu().numpy()
    return found


@dataclass(frozen=True)
class BitCounts:
    """How many elements of v fall into each bin of its bits."""

    counts: NDArray[np.int64]
    """(bins,): finite positive elements."""
    zeros: int
    nonfinite: int
    """NaN, infinite or negative: no ẑ."""
    edges: NDArray[np.float64]
    below: NDArray[np.int64]
    """(limits,): finite positive elements below each limit that was given, exactly."""

    @property
    def measured(self) -> int:
        """Finite positive elements."""
        return int(self.counts.sum())


def count_bits(v: torch.Tensor, limits: Sequence[float] | NDArray[np.float64] = ()) -> BitCounts:
    """Count the upper bits of v, any shape, float16 to float64, on any device, and what is below each of `limits`.

    Bins tell how many elements are below a limit, except for those in the bin that it lies in: they are compared.
    """
    layout = _layout_of(v)
    ends = layout.bits(np.asarray(limits, dtype=np.float64))
    cut = ends >> layout.shift
    total = np.zeros(layout.bins + layout.spare, dtype=np.int64)
    inside = np.zeros(len(ends), dtype=np.int64)
    zeros = minus_zeros = 0
    for bits, index in _chunks(v):
        if len(index) and index.min() < 0:
            minus_zeros += _count(bits == torch.iinfo(layout.integer).min)
            index[index < 0] = len(total) - 1
        counts = torch.bincount(torch.as_tensor(index)).cpu().numpy()
        if len(counts) and counts[0]:
            nothing = _count(bits == 0)
            counts[0] -= nothing
            zeros += nothing
        total[: len(counts)] += counts
        reached = np.flatnonzero(cut < len(counts))
        occupied = reached[counts[cut[reached]] > 0]
        if occupied.size:
            found = _inside(bits, index, sorted(set(cut[occupied].tolist())))
            for i in occupied.tolist():
                begin, end = max(1, int(cut[i]) << layout.shift), int(ends[i])
                inside[i] += np.count_nonzero((found >= begin) & (found < end))
    merged = sum_over_shards(np.concatenate([total, inside, [zeros, minus_zeros]]), v)
    total, inside, (zeros, minus_zeros) = np.split(merged, [len(total), len(total) + len(inside)])
    return BitCounts(
        counts=total[: layout.bins],
        zeros=int(zeros + minus_zeros),
        nonfinite=int(total[layout.bins :].sum() - minus_zeros),
        edges=layout.edges,
        below=np.concatenate([[0], np.cumsum(total)])[cut] + inside,
    )


def _locate(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The bin of the element at 0-based `rank`, and its rank inside it."""
    cumulative = np.cumsum(counts)
    place = int(np.searchsorted(cumulative, rank, side="right"))
    return place, rank - int(cumulative[place] - counts[place])


def _order_statistic(v: torch.Tensor, counts: BitCounts, rank: int) -> float:
    """The value of v at 0-based `rank` among its finite positive elements, exactly: its bits, 16 more at a time."""
    layout = _layout_of(v)
    place, rank = _locate(counts.counts, rank)
    prefix, shift = place, layout.shift
    while shift:
        digits = min(shift, 16)
        shift -= digits
        found = np.zeros(1 << digits, dtype=np.int64)
        for bits, index in _chunks(v):
            candidates = _inside(bits, index, [place])
            candidates = candidates[(candidates > 0) & (candidates >> (shift + digits) == prefix)]
            found += np.bincount((candidates >> shift) & ((1 << digits) - 1), minlength=len(found))
        digit, rank = _locate(sum_over_shards(found, v), rank)
        prefix = prefix << digits | digit
    return layout.value(prefix)


def percentile(term: Denominator, counts: BitCounts, q: float) -> float:
    """The q-th percentile of ẑ over its finite positive elements, interpolated linearly between ranks in ẑ.

    Exact below `EXACT_BELOW` elements; above, within half a bin, but always on the right side of the boundaries
    10**(k + 1/2), so that its nearest power of ten is the exact one's.
    """
    n = counts.measured
    position = q / 100 * (n - 1)
    ranks = [math.floor(position), math.ceil(position)]
    if n >= EXACT_BELOW:
        first, last = (_locate(counts.counts, rank)[0] for rank in ranks)
        low = _log10_z(term, float(counts.edges[first]))
        high = _log10_z(term, float(counts.edges[last + 1]))
        # Ranks in two bins may lie far apart: what is between them is a matter of values, not of bins.
        if first == last and math.isfinite(low) and math.floor(low + 0.5) == math.floor(high + 0.5):
            return float(10 ** ((low + high) / 2))
    values = {rank: _order_statistic(term.v, counts, rank) for rank in set(ranks)}
    below, above = (10 ** _log10_z(term, values[rank]) for rank in ranks)
    return float(below + (above - below) * (position - ranks[0]))


def _log10_z(term: Denominator, v: float) -> float:
    return term.power * (math.log10(term.scale) + math.log10(v)) if v > 0 else -math.inf


def _decades(term: Denominator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every k for which a positive finite v could make ẑ = 10**k, and that v."""
    edges = _layout_of(term.v).edges
    low, high = (_log10_z(term, float(edge)) for edge in (edges[1], edges[-1]))
    # Inside the first bin are subnormal numbers, down to 5 decades below its end in float32, and 14 in float64.
    decades = np.arange(math.floor(low - 14 * term.power), math.ceil(high) + 1)
    with np.errstate(over="ignore", under="ignore"):
        limits = 10.0 ** (decades / term.power) / term.scale
    possible = (limits > 0) & (limits <= edges[-1])
    return decades[possible], limits[possible]


def histogram(term: Denominator, counts: BitCounts, decades: NDArray[np.int64]) -> Histogram:
    """ẑ in the bins of `records.Histogram`, from the counts of v's bits and those below each of `decades`.

    Shares above powers of ten are exact; a bit bin that another edge cuts is shared out in proportion (in log10): its
    width is 0.0017 decades of √v at most.
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
    spanned = (decades >= log_z[0]) & (decades <= log_z[-1])
    places, order = np.unique(np.concatenate([decades[spanned], log_z]), return_index=True)
    known = np.maximum.accumulate(np.concatenate([counts.below[spanned], cumulative])[order])
    at = np.interp(np.arange(start, stop + 1) / BINS_PER_DECADE, places, known)
    return Histogram(start=start, counts=np.diff(np.rint(at).astype(np.int64)).tolist(), zeros=counts.zeros)


def measure_layer(name: str, term: Denominator, percentiles: tuple[float, float]) -> Layer:
    """What the record keeps of one tensor's ẑ; of a complex one, real and imaginary parts are elements."""
    if term.v.is_complex():
        term = term._replace(v=torch.view_as_real(term.v))
    decades, limits = _decades(term)
    counts = count_bits(term.v, limits)
    low, high = (percentile(term, counts, q) if counts.measured else None for q in percentiles)
    return Layer(
        name=name,
        numel=term.v.numel(),
        zeros=counts.zeros,
        nonfinite=counts.nonfinite,
        p2=low,
        p98=high,
        histogram=histogram(term, counts, decades),
    )
