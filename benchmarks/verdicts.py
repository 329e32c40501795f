"""Judge the dense tables of outcomes.py: what the verdict on each is.

Results are in benchmarks/results/verdicts.json. The tables keep the mean over seeds, so each cell counts as one seed.

    python benchmarks/verdicts.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outcomes import RESULTS, at_ruled_beta2, tables

from epsearch.core.numbers import label
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Trial
from epsearch.report.analysis.verdict import verdict


def study(about: dict[str, Any], rows: list[dict[str, Any]], probe: ProbeResult | None) -> Outcome:
    """A table as a finished grid at the β₂ of the rule."""
    trials = []
    for number, row in enumerate(at_ruled_beta2(about, rows)):
        end = {"state": "complete", "value": row["value"], "seed_values": [row["value"]]}
        if row["diverged"]:
            end = {"state": "failed", "fail_reason": "diverged"}
        cell = {key: row[key] for key in ("lr", "eps", "beta2")}
        trials.append(Trial.model_validate({"number": number, "optimizer": about["optimizer"], **cell, **end}))
    return Outcome(
        name=about["workload"],
        metric=about["metric"],
        goal=about["goal"],
        optimizer=about["optimizer"],
        probe=probe,
        trials=trials,
        directory=Path("runs") / about["workload"],
        planned=len(trials),
    )


def probes() -> dict[str, ProbeResult]:
    """The probe's whole record of each table, if outcome_probes.py kept it."""
    path = RESULTS / "outcome_probes.json"
    if not path.exists():
        return {}
    return {name: ProbeResult.model_validate(record) for name, record in json.loads(path.read_text()).items()}


def main() -> None:
    records, found = probes(), []
    for about, rows in tables():
        name = f"{about['workload']} {about['optimizer']}"
        judged = verdict(study(about, rows, records.get(name)))
        low, high = (label("eps", end) for end in judged.interval or (0.0, 0.0))
        found.append({"table": name, "kind": judged.kind, "equal": [low, high], "headline": judged.headline})
        print(f"| {name} | {judged.kind} | {judged.headline} |", flush=True)
    (RESULTS / "verdicts.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
