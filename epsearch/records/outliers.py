"""Which tensors make the range of Algorithm 2 wider than the pooled one, in words."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label, percent
from epsearch.records.damping import APART
from epsearch.records.epsilon import EpsilonRange
from epsearch.records.histogram import BINS_PER_DECADE, Histogram
from epsearch.records.probe import Layer, ProbeResult

WIDER = 2
"""Decades by which an end must differ to be explained."""

MOST_NAMES = 3
"""Names of tensors in a sentence; the others are counted."""

NOISE = ", whose ẑ is far below all others: typical of rounding noise (gradients that are zero but for rounding)"


def explain_ranges(result: ProbeResult) -> str:
    """The range of the other kind, and the tensors that set the ends of the paper's; empty if both hardly differ."""
    pooled = result.pooled_range
    low = [layer for layer in result.layers if layer.p2 and _decades(layer.p2, pooled.lower) >= WIDER]
    high = [layer for layer in result.layers if layer.p98 and _decades(pooled.upper, layer.p98) >= WIDER]
    ends = []
    if low:
        noise = NOISE if _apart(low, result.histogram.percentile(result.percentiles[0])) else ""
        ends.append(f"lower end comes from {_named(low, result)}{noise}")
    if high:
        ends.append(f"upper end comes from {_named(high, result)}")
    if not ends:
        return ""
    if result.range_kind == "paper":
        return f"Pooled over all elements, the range would be {_reach(pooled)}: this one's {'; its '.join(ends)}."
    return f"Algorithm 2 gives {_reach(result.paper_range)}: its {'; its '.join(ends)}."


def far_ends(result: ProbeResult) -> tuple[float, ...]:
    """The ends of the paper's range that are `WIDER` decades or more beyond those of the pooled one."""
    paper, pooled = result.paper_range, result.pooled_range
    below, above = _decades(paper.lower, pooled.lower) >= WIDER, _decades(pooled.upper, paper.upper) >= WIDER
    return (paper.lower,) * below + (paper.upper,) * above


def _decades(low: float, high: float) -> int:
    """Decades from `low` to `high`, as an end of the range is rounded."""
    return math.floor(math.log10(high) + 0.5) - math.floor(math.log10(low) + 0.5)


def _apart(layers: Sequence[Layer], bulk: float) -> bool:
    """Whether an empty stretch of decades separates the smallest ẑ of these tensors from the rest, or from `bulk`.

    `damping.APART` says why that is noise. (Seen in BERT, GPT-2, ViT, convolutions with a bias before BatchNorm.)
    """
    counted = Histogram(start=math.floor(math.log10(bulk) * BINS_PER_DECADE), counts=[1])
    merged = functools.reduce(Histogram.merge, (layer.histogram for layer in layers), counted)
    stretches = (len(list(bins)) for empty, bins in itertools.groupby(merged.counts, lambda held: not held) if empty)
    return max(stretches, default=0) >= APART * BINS_PER_DECADE


def _named(layers: Sequence[Layer], result: ProbeResult) -> str:
    """`encoder.*.key.bias (12 tensors, 0.70% of the elements)`, with patterns that `exclude` accepts."""
    chosen = {layer.name for layer in layers}
    others = [layer.name for layer in result.layers if layer.name not in chosen]
    # Names that differ only in numbers are one pattern, if it matches no other tensor.
    patterns = {name: re.sub(r"\d+", "*", name) for name in chosen}
    alone = {p for p in patterns.values() if fnmatch.filter(others, p) or Counter(patterns.values())[p] == 1}
    names = list(
        dict.fromkeys(layer.name if patterns[layer.name] in alone else patterns[layer.name] for layer in layers)
    )
    shown = [one_line(name, 100) for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        shown.append(f"{len(names) - MOST_NAMES} more")
    share = percent(sum(layer.numel for layer in layers) / sum(layer.numel for layer in result.layers))
    return f"{listed(shown)} ({count(len(layers), 'tensor')}, {share} of the elements)"


def _reach(found: EpsilonRange) -> str:
    return f"{label('eps', found.lower)} to {label('eps', found.upper)}"
