"""Check whether the probed range holds the best eps, from the dense tables of outcomes.py; trains nothing.

For each workload and optimizer: the table's best over all lr, eps and beta2, and the loss (in % of it) when only some
eps are tried, with every lr and beta2 of the table: those of the probed range, these and the power of ten below them,
the two ends of the range, or the optimizer's default.

    python benchmarks/range_holds.py    # writes the table of docs/benchmarks.md
"""

from __future__ import annotations

import math

from outcomes import best_row, range_of, tables
from reproduction import write
from search_comparison import CLOSE, DEFAULT_EPS, PAGE

from epsearch.core.numbers import label, number
from epsearch.records.epsilon import power_of_ten


def table() -> str:
    """A row per workload and optimizer, and how often each choice is good enough."""
    lines = [
        "| table | probed range | best eps | best | lost in the range, % | and a decade below | by its ends | default |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    losses = []
    for probe, rows in tables():
        found, best = range_of(probe), best_row(probe, rows)
        assert best is not None, "a table has values"
        lost = []
        below = power_of_ten(round(math.log10(found.lower)) - 1)
        for eps in (found.grid(), [below, *found.grid()], found.endpoints(), [DEFAULT_EPS[probe["optimizer"]]]):
            mine = best_row(probe, (row for row in rows if row["eps"] in eps))
            lost.append(100 * abs(mine["value"] - best["value"]) / abs(best["value"]) if mine else math.inf)
        losses.append(lost)
        cells = [f"{probe['workload']} {probe['optimizer']}"]
        cells += [f"{label('eps', found.lower)} to {label('eps', found.upper)}", label("eps", best["eps"])]
        lines.append(f"| {' | '.join([*cells, number(best['value']), *(f'{loss:.2f}' for loss in lost)])} |")
    held = (f"{sum(loss <= 100 * CLOSE for loss in each)} of {len(each)}" for each in zip(*losses, strict=True))
    lines.append(f"| **within 0.5 % in** | | | | {' | '.join(held)} |")
    return "\n".join(lines)


def main() -> None:
    PAGE.write_text(write(PAGE.read_text(), {"does the range hold": table()}))


if __name__ == "__main__":
    main()
