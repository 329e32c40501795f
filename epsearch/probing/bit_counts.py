"""Count floats by their upper bits: a log-spaced histogram in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from epsearch.probing.sharding import local_part, sum_over_shards

if TYPE_CHECKING:
    from numpy.typing import NDArray


CHUNK = 1 << 18
"""Elements counted at a time: limits the extra memory and fits in the cache."""


GPU_CHUNK = 1 << 22
"""The same on a GPU, where launching an operation costs more than a pass over a million elements."""


@dataclass(frozen=True)
class BitLayout:
    """How a dtype's bits map to bins: bin = bits >> shift. The first `bins` bins hold finite positive numbers.

    The next `spare` bins hold infinity and NaN. Numbers with the sign bit set have a negative bin.
    """

    dtype: torch.dtype
    integer: torch.dtype
    index: torch.dtype
    """The smallest integer dtype that holds a bin."""
    shift: int
    bins: int
    edges: NDArray[np.float64]
    """The values at the start of each bin, and at the end of the last: (bins + 1,)."""
    spare: int = 1 << 7

    def bits(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """For each positive finite value, the bits of the smallest number of this dtype that is not below it."""
        if self.dtype == torch.float64:
            return values.view(np.int64)
        single = values.astype(np.float32)
        single = np.where(single < values, np.nextafter(single, np.float32(np.inf)), single)
        bits = single.view(np.int32).astype(np.int64)
        return bits if self.shift else -(-bits >> 16)

    def value(self, bits: int) -> float:
        """The number with these bits."""
        return float(torch.tensor(bits, dtype=self.integer).view(self.dtype))


def _layout(dtype: torch.dtype) -> BitLayout:
    if dtype == torch.float64:
        # 11 exponent bits and 7 of the mantissa.
        bins = 0x7FF << 7
        edges = (np.arange(bins, dtype=np.uint64) << np.uint64(45)).view(np.float64)
        return BitLayout(dtype, torch.int64, torch.int32, 45, bins, np.append(edges, np.finfo(np.float64).max))
    # 8 exponent bits and 7 of the mantissa: all of bfloat16, the upper half of float32.
    bins = 0xFF << 7
    edges = np.append((np.arange(bins, dtype=np.uint32) << np.uint32(16)).view(np.float32), np.finfo(np.float32).max)
    integer, shift = (torch.int16, 0) if dtype == torch.bfloat16 else (torch.int32, 16)
    return BitLayout(dtype, integer, torch.int16, shift, bins, edges.astype(np.float64))


_LAYOUTS = {dtype: _layout(dtype) for dtype in (torch.bfloat16, torch.float32, torch.float64)}


def layout_of(v: torch.Tensor) -> BitLayout:
    """The layout for a tensor's dtype; float32's for any other dtype."""
    return _LAYOUTS.get(v.dtype, _LAYOUTS[torch.float32])


def in_chunks(v: torch.Tensor) -> Iterator[tuple[Any, Any]]:
    """Yield the bits of this rank's elements and their bins, in flat pieces of v (float16 is widened exactly).

    On a CPU they are NumPy arrays: comparing and selecting is many times faster than in PyTorch, and single-threaded,
    while PyTorch's threads wait for each other on a busy machine. On other devices they are tensors. Callers treat
    both alike.
    """
    layout = layout_of(v)
    v = local_part(v.detach())
    # The order of elements does not matter: memory order needs no copy.
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


def elements_in(bits: Any, index: Any, bins: Sequence[int]) -> NDArray[Any]:
    """The bits of the elements in any of `bins`."""
    chosen = index == bins[0]
    for other in bins[1:]:
        chosen |= index == other
    found: NDArray[Any] = torch.as_tensor(bits[chosen]).cpu().numpy()
    return found


@dataclass(frozen=True)
class BitCounts:
    """The number of elements of v in each bin."""

    counts: NDArray[np.int64]
    """(bins,): finite positive elements per bin."""
    zeros: int
    nonfinite: int
    """NaN, infinite or negative elements, which have no ẑ."""
    edges: NDArray[np.float64]
    below: NDArray[np.int64]
    """(limits,): exact number of finite positive elements below each limit."""

    @property
    def measured(self) -> int:
        """Finite positive elements."""
        return int(self.counts.sum())


def count_bits(v: torch.Tensor, limits: Sequence[float] | NDArray[np.float64] = ()) -> BitCounts:
    """Count the elements of v per bin, and those below each of `limits`; any shape and device, float16 to float64.

    Bins give the number of elements below a limit, except in the limit's own bin, whose elements are compared.
    """
    layout = layout_of(v)
    ends = layout.bits(np.asarray(limits, dtype=np.float64))
    cut = ends >> layout.shift
    total = np.zeros(layout.bins + layout.spare, dtype=np.int64)
    inside = np.zeros(len(ends), dtype=np.int64)
    zeros = minus_zeros = 0
    for bits, index in in_chunks(v):
        if len(index) and index.min() < 0:
            minus_zeros += _count(bits == torch.iinfo(layout.integer).min)
            index[index < 0] = len(total) - 1
        # Faster than torch.bincount on a CPU: 6 to 40 times with two threads on a busy machine.
        counts = np.bincount(index) if isinstance(index, np.ndarray) else torch.bincount(index).cpu().numpy()
        if len(counts) and counts[0]:
            nothing = _count(bits == 0)
            counts[0] -= nothing
            zeros += nothing
        total[: len(counts)] += counts
        reached = np.flatnonzero(cut < len(counts))
        occupied = reached[counts[cut[reached]] > 0]
        if occupied.size:
            found = elements_in(bits, index, sorted(set(cut[occupied].tolist())))
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
