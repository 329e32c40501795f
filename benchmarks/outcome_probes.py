"""Probe every workload and optimizer of outcomes.py and keep the whole records, so that ranges can be computed again.

Results are in benchmarks/results/outcome_probes.json: the JSON of a `ProbeResult` by "workload optimizer". A probe
whose run directory exists in runs/outcomes/ is not repeated.

    EPSEARCH_DATA=… python benchmarks/outcome_probes.py [NAME ...]
"""

from __future__ import annotations

import json
import sys

from outcomes import EPS, HERE, OPTIMIZERS, RESULTS, run_probe

from epsearch.records.probe import ProbeResult

RECORDS = RESULTS / "outcome_probes.json"


def records() -> dict[str, ProbeResult]:
    """The kept records by "workload optimizer"."""
    kept = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    return {key: ProbeResult.model_validate(record) for key, record in kept.items()}


def main() -> None:
    kept = records()
    for name in sys.argv[1:] or sorted(path.stem for path in (HERE / "outcomes").glob("*.yaml")):
        for optimizer in OPTIMIZERS.get(name, EPS):
            kept[f"{name} {optimizer}"] = run_probe(name, optimizer)
    # A line per record.
    lines = (f"{json.dumps(key)}:{kept[key].model_dump_json()}" for key in sorted(kept))
    RECORDS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
