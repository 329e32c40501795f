"""Does the probed range hold the best eps? Read off the dense tables of outcomes.py; nothing is trained.

For each workload and optimizer: the table's best over all of lr, eps and beta2, and what is lost (in % of it) by
whoever tries only the eps of the probed range, its two ends, or one fixed eps, with every lr and beta2 of the table.

    python benchmarks/range_holds.py
"""

from __future__ import annotations

from outcomes import best_row, range_of, tables
from search_comparison import DEFAULT_EPS

from epsearch.labels import label, number


def main() -> None:
    print("| table | probed range | best eps | best | lost in the range, % | by its ends | by the default |")
    print("|---|---|---|---|---|---|---|")
    for probe, rows in tables():
        found, best = range_of(probe), best_row(probe, rows)
        assert best is not None, "a table has values"
        lost = []
        for eps in (found.grid(), found.endpoints(), [DEFAULT_EPS[probe["optimizer"]]]):
            mine = best_row(probe, (row for row in rows if row["eps"] in eps))
            lost.append(100 * abs(mine["value"] - best["value"]) / abs(best["value"]) if mine else float("inf"))
        print(
            f"| {probe['workload']} {probe['optimizer']} | {label('eps', found.lower)} to {label('eps', found.upper)} "
            f"| {label('eps', best['eps'])} | {number(best['value'])} | "
            + " | ".join(f"{loss:.2f}" for loss in lost)
            + " |"
        )


if __name__ == "__main__":
    main()
