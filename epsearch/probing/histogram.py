"""Percentiles and histograms of ẑ, by counting the bits of v.

The bits of positive floats are ordered like their values, so counting the upper bits (exponent and 7 of the mantissa)
gives a log-spaced histogram in one pass over memory, with bins at most 1/128 of an octave wide;
ẑ = (scale · v) ** power is monotone in v. Counts bracket a percentile within one bin. The lower bits are counted too
if the tensor is small, or if the bracket contains a boundary of rounding to powers of ten. Counts add up: the ranks of
a sharded tensor count their parts and exchange only counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsearch.probing.bit_counts import BitCounts, count_bits, layout_of
from epsearch.probing.percentiles import _log10_z, percentile
from epsearch.records.histogram import BINS_PER_DECADE, Histogram
from epsearch.records.kinds import Kind
from epsearch.records.probe import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from epsearch.optimizers import Denominator


def _decades(term: Denominator) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Every k such that ẑ = 10**k for some positive finite v, and that v."""
    edges = layout_of(term.v).edges
    low, high = (_log10_z(term, float(edge)) for edge in (edges[1], edges[-1]))
    # The first bin holds subnormal numbers, down to 5 decades below its end in float32 and 14 in float64.
    decades = np.arange(math.floor(low - 14 * term.power), math.ceil(high) + 1)
    with np.errstate(over="ignore", under="ignore"):
        limits = 10.0 ** (decades / term.power) / term.scale
    possible = (limits > 0) & (limits <= edges[-1])
    return decades[possible], limits[possible]


def histogram(term: Denominator, counts: BitCounts, decades: NDArray[np.int64]) -> Histogram:
    """ẑ in the bins of `records.Histogram`, from the counts of v's bits and the counts below each of `decades`.

    Fractions above powers of ten are exact. A bin of bits that contains any other edge is split in proportion (in
    log10); it is at most 0.0017 decades of √v wide.
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


def measure_layer(name: str, term: Denominator, percentiles: tuple[float, float], kind: Kind = "other") -> Layer:
    """The record of one tensor's ẑ; real and imaginary parts of complex tensors count as separate elements."""
    if term.v.is_complex():
        term = term._replace(v=torch.view_as_real(term.v))
    decades, limits = _decades(term)
    counts = count_bits(term.v, limits)
    low, high = (percentile(term, counts, q) if counts.measured else None for q in percentiles)
    return Layer(
        name=name,
        kind=kind,
        numel=term.v.numel(),
        zeros=counts.zeros,
        nonfinite=counts.nonfinite,
        p2=low,
        p98=high,
        histogram=histogram(term, counts, decades),
    )
