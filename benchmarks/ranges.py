"""Compare ways to read the range of eps from a probe, on the dense tables of outcomes.py; trains nothing.

A range should be short and hold the table's best. Both are computed for Algorithm 2 and for pooled percentiles, with
tensors weighted by different powers of their size. `points` are the powers of ten in the range, `lost` is how much the
best smoothed value in the range is worse than the best of the table, in % of it. The best is in the range if no more is
lost than the table's tolerance (dense.py).

    python benchmarks/ranges.py    # writes the tables of docs/benchmarks.md
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from dense import Table, read
from reproduction import ROOT, write

from epsearch.core.numbers import label
from epsearch.optimizers import default_eps
from epsearch.records.epsilon import EpsilonRange, nearest_power_of_ten, power_of_ten
from epsearch.records.histogram import BINS_PER_DECADE
from epsearch.records.probe import Layer, ProbeResult

PAGE = ROOT / "docs" / "benchmarks.md"


class Rule(NamedTuple):
    """How a range is read; `size_power` weights a tensor by its size to this power, None is Algorithm 2."""

    name: str
    size_power: float | None
    below: int
    """Decades added at the lower end."""
    fewest: int
    """Points of the range at least, counted with those decades."""

    def range(self, probe: ProbeResult) -> EpsilonRange:
        """The range that this rule reads from a probe."""
        found = probe.paper_range if self.size_power is None else pooled(probe, self.size_power)
        low, high = (round(math.log10(end)) for end in (found.lower, found.upper))
        low = min(low - self.below, high - self.fewest + 1)
        return EpsilonRange(lower=power_of_ten(low), upper=power_of_ten(high))


RULES = [
    Rule("Algorithm 2", None, 0, 1),
    Rule("Algorithm 2", None, 1, 1),
    *(
        Rule(name, power, below, fewest)
        for name, power in (("elements", 1.0), ("tensors by the root of their size", 0.5), ("tensors equally", 0.0))
        for below, fewest in ((0, 1), (1, 1), (1, 4), (1, 5))
    ),
]
DEFAULT = Rule("elements", 1.0, 1, 4)


def pooled(probe: ProbeResult, size_power: float) -> EpsilonRange:
    """The percentiles of all elements, each tensor weighted by its size to `size_power`, as powers of ten."""
    layers = [layer for layer in probe.layers if layer.histogram.counts]
    start = min(layer.histogram.start for layer in layers)
    share = np.zeros(max(layer.histogram.start + len(layer.histogram.counts) for layer in layers) - start)
    for layer in layers:
        counts = np.array(layer.histogram.counts, dtype=float)
        first = layer.histogram.start - start
        share[first : first + len(counts)] += counts / counts.sum() * _size(layer) ** size_power
    ends = np.interp(
        np.array(probe.percentiles) / 100 * share.sum(),
        np.concatenate([[0], np.cumsum(share)]),
        (start + np.arange(len(share) + 1)) / BINS_PER_DECADE,
    )
    lower, upper = (nearest_power_of_ten(float(10**end)) for end in ends)
    return EpsilonRange(lower=lower, upper=upper)


def _size(layer: Layer) -> int:
    return sum(layer.histogram.counts)


def lost_in(table: Table, grid: Iterable[float]) -> float:
    """How much the best smoothed value at these eps is worse than the best of the table, as a share of it."""
    grid = set(grid)
    return min((table.lost(value) for (_, eps), value in table.smoothed.items() if eps in grid), default=math.inf)


def rules(tables: list[Table]) -> str:
    """A row per rule: how long its ranges are, and how often they hold the best."""
    lines = [
        "| ends read from | decades below | at least | points: mean | most, Adam and RMSprop | most, AdaBelief | "
        "best inside | mean lost, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule in RULES:
        found = [rule.range(table.probe) for table in tables]
        points = [len(each.grid()) for each in found]
        lost = [lost_in(table, each.grid()) for table, each in zip(tables, found, strict=True)]
        inside = sum(loss <= table.tolerance for loss, table in zip(lost, tables, strict=True))
        squared = [n for n, table in zip(points, tables, strict=True) if table.probe.root != 1]
        others = [n for n, table in zip(points, tables, strict=True) if table.probe.root == 1]
        cells = [rule.name, str(rule.below), str(rule.fewest), f"{statistics.mean(points):.1f}"]
        cells += [str(max(others, default=0)), str(max(squared, default=0)), f"{inside} of {len(tables)}"]
        cells += [f"{100 * statistics.mean(max(loss, 0.0) for loss in lost):.2f}"]
        lines.append(f"| {' | '.join(f'**{cell}**' if rule == DEFAULT else cell for cell in cells)} |")
    return "\n".join(lines)


def ranges(tables: list[Table]) -> str:
    """A row per table: both ranges, where the best eps is, and what is lost in each."""
    lines = [
        "| table | best eps | tolerance, % | pooled | lost, % | Algorithm 2 | lost, % | lost by the default eps, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for table in tables:
        pick: Callable[..., tuple[float, float]] = max if table.goal == "maximize" else min
        _, eps = pick(table.smoothed, key=lambda cell: table.smoothed[cell])
        cells = [table.name, label("eps", eps), f"{100 * table.tolerance:.1f}"]
        for found in (table.probe.pooled_range, table.probe.paper_range):
            loss = lost_in(table, found.grid())
            text = f"{100 * loss:.2f}"
            cells += [f"{label('eps', found.lower)} to {label('eps', found.upper)}"]
            cells += [f"**{text}**" if loss > table.tolerance else text]
        cells.append(f"{100 * lost_in(table, [default_eps(table.optimizer)]):.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tables_of_page() -> dict[str, str]:
    """The tables of the page, by the name of their marker."""
    tables = list(read())
    return {"ranges by rule": rules(tables), "ranges by table": ranges(tables)}


def main() -> None:
    PAGE.write_text(write(PAGE.read_text(), tables_of_page()))


if __name__ == "__main__":
    main()
