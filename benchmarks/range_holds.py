"""Does the probed range hold the best eps? Read off the dense tables of outcomes.py; nothing is trained.

For each workload and optimizer: the table's best over all of lr, eps and beta2, and what is lost (in % of it) by
whoever tries only the eps of the probed range, its two ends, or one fixed eps, with every lr and beta2 of the table.

    python benchmarks/range_holds.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet

from epsearch.labels import label, number
from epsearch.records import EpsilonRange

RESULTS = Path(__file__).parent / "results"

DEFAULT = {"adam": 1e-8, "rmsprop": 1e-8, "adabelief": 1e-16}
"""The eps that each optimizer has unless told."""


def lost(rows: list[dict[str, Any]], goal: str, eps: list[float]) -> float:
    """What the best among these eps lacks to the best of all, in % of that; infinite where none has a value."""
    pick = max if goal == "maximize" else min
    best = pick(row["value"] for row in rows if row["value"] is not None)
    mine = [row["value"] for row in rows if row["value"] is not None and row["eps"] in eps]
    return 100 * abs(pick(mine) - best) / abs(best) if mine else float("inf")


def main() -> None:
    everything = pyarrow.parquet.read_table(RESULTS / "outcomes.parquet").to_pylist()
    print("| table | probed range | best eps | best | lost in the range, % | by its ends | by the default |")
    print("|---|---|---|---|---|---|---|")
    for probe in json.loads((RESULTS / "outcomes.json").read_text())["tables"]:
        rows = [row for row in everything if all(row[key] == probe[key] for key in ("workload", "optimizer"))]
        pick = max if probe["goal"] == "maximize" else min
        best = pick((row for row in rows if row["value"] is not None), key=lambda row: row["value"])
        found = EpsilonRange(lower=probe["lower"], upper=probe["upper"])
        losses = [
            lost(rows, probe["goal"], eps) for eps in (found.grid(), found.endpoints(), [DEFAULT[probe["optimizer"]]])
        ]
        print(
            f"| {probe['workload']} {probe['optimizer']} | {label('eps', found.lower)} to {label('eps', found.upper)} "
            f"| {label('eps', best['eps'])} | {number(best['value'])} | "
            + " | ".join(f"{loss:.2f}" for loss in losses)
            + " |"
        )


if __name__ == "__main__":
    main()
