"""Compare ways to predict from the probe how the best lr rises with ε, on the dense tables; trains nothing.

    python benchmarks/ridges.py    # writes the table of docs/benchmarks.md

For each table and ε, the best lr is the mean (in log10) of all lr whose smoothed value is within the table's tolerance
of the best at that ε. Rows that do not learn, or whose best lr is at an end of the table, do not count. Each prediction
is placed at the mean of the rows at or below the range; what it is off at all others is compared.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from dense import Table, read
from reproduction import write
from search_comparison import PAGE

from epsearch.records.probe import ProbeResult

LEARNS = 0.3
"""Loss, compared with the table's best, above which a row does not learn."""

SHIFTS: dict[str, Callable[[ProbeResult, float], float]] = {
    "**the root mean square of the updates** (`lr_shift`)": ProbeResult.lr_shift,
    "their mean": lambda probe, eps: -math.log10(probe.histogram.mean(lambda z: (z / (z + eps)) ** probe.root)),
    "their geometric mean": lambda probe, eps: probe.root * probe.histogram.mean(lambda z: math.log10(1 + eps / z)),
    "the median of ẑ": lambda probe, eps: probe.root * math.log10(1 + eps / probe.histogram.percentile(50)),
    "the 90th percentile of ẑ": lambda probe, eps: probe.root * math.log10(1 + eps / probe.histogram.percentile(90)),
}
"""The decades by which lr rises, by what is kept equal."""


def best_lrs(table: Table) -> dict[float, float]:
    """log10 of the best lr by ε."""
    found = {}
    for eps in table.epss:
        row = {lr: table.lost(table.smoothed[lr, eps]) for lr in table.lrs if (lr, eps) in table.smoothed}
        best = min(row, key=row.__getitem__, default=None)
        if best is None or row[best] > LEARNS or best in (table.lrs[0], table.lrs[-1]):
            continue
        good = [math.log10(lr) for lr, lost in row.items() if lost - row[best] <= table.tolerance]
        found[eps] = statistics.mean(good)
    return found


def errors(table: Table, shift: Callable[[ProbeResult, float], float]) -> dict[float, float]:
    """Decades by which the best lr is above the prediction, by ε above the lower end of the range."""
    levels = {eps: lr - shift(table.probe, eps) for eps, lr in best_lrs(table).items()}
    below = [level for eps, level in levels.items() if eps <= table.found.lower]
    if not below:
        return {}
    return {eps: level - statistics.mean(below) for eps, level in levels.items() if eps > table.found.lower}


def rms(values: list[float]) -> float:
    """Root mean square."""
    return math.sqrt(statistics.mean(value**2 for value in values))


def comparison() -> str:
    """A row per prediction."""
    tables = list(read())
    lines = [
        "| what stays equal | decades off, in the range | at every ε | mean | worst table |",
        "|---|---|---|---|---|",
    ]
    for name, shift in SHIFTS.items():
        each = {table.name: (table, found) for table in tables if (found := errors(table, shift))}
        everywhere = [error for _, found in each.values() for error in found.values()]
        inside = [error for table, found in each.values() for eps, error in found.items() if eps <= table.found.upper]
        worst = max(each, key=lambda key: rms(list(each[key][1].values())))
        lines.append(
            f"| {name} | {rms(inside):.2f} | {rms(everywhere):.2f} | {statistics.mean(everywhere):+.2f} "
            f"| {rms(list(each[worst][1].values())):.2f}, {worst} |"
        )
    return "\n".join(lines)


def main() -> None:
    PAGE.write_text(write(PAGE.read_text(), {"ridges": comparison()}))


if __name__ == "__main__":
    main()
