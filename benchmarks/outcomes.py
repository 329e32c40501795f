"""Dense tables of outcomes over lr, eps and beta2, made by the project itself: what searches are compared on.

For each study file in `benchmarks/outcomes/` and each optimizer: a probe at its default settings, and a grid over
LRS × EPS × the file's beta2. Run directories are kept in runs/outcomes/, so that it goes on where it was left; what
came out is in benchmarks/results/outcomes.parquet (a row for each cell, with its value after every epoch) and
outcomes.json (the probes; what the trials' seconds sum to, which overlap where cells are trained together; on what).

    EPSEARCH_DATA=… python benchmarks/outcomes.py [NAME ...]
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import torch

import epsearch
from epsearch import pipeline
from epsearch.records import EpsilonRange, power_of_ten

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = Path("runs/outcomes")

LRS = [float(f"{10 ** (half / 2):.4g}") for half in range(-8, 2)]
"""Ten powers of √10, 1e-4 to 3.162."""

EPS = {
    "adam": [power_of_ten(k) for k in range(-12, 3)],
    "rmsprop": [power_of_ten(k) for k in range(-12, 3)],
    # Its ε is compared with a square (Table 5), so its ranges are twice as wide (Table 4).
    "adabelief": [power_of_ten(k) for k in range(-20, 1)],
}

PART = 300_000
"""Bytes of War and Peace that its models are trained on."""


def part_of_war_and_peace() -> Path:
    """Its beginning as a file of its own."""
    data = Path(os.environ["EPSEARCH_DATA"])
    part = RUNS.absolute() / f"war-and-peace-{PART}.txt"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes((data / "war-and-peace" / "warandpeace.txt").read_bytes()[:PART])
    return part


def settings(name: str, optimizer: str) -> list[str]:
    """What of the study file is another for this optimizer, and on this machine."""
    chosen = [f"optimizer.name={optimizer}"]
    return [*chosen, f"workload.path={part_of_war_and_peace()}"] if name.startswith("war-and-peace") else chosen


def compute(name: str, optimizer: str) -> None:
    """Probe and grid, unless they are there already."""
    study, place = HERE / "outcomes" / f"{name}.yaml", RUNS / f"{name}-{optimizer}"
    chosen = settings(name, optimizer)
    pipeline.probe(study, chosen, place / "probe")
    began = time.time()
    dense = [f"search.lr={LRS}", f"search.eps={EPS[optimizer]}"]
    outcome = epsearch.run(study, overrides=[*chosen, *dense], directory=place / "grid")
    print(f"{name} {optimizer}: {len(outcome.trials)} cells, {time.time() - began:.0f} s", flush=True)


def collect() -> None:
    """The tables of every run that is complete, as the two files of results."""
    rows: list[dict[str, Any]] = []
    probes: list[dict[str, Any]] = []
    for place in sorted(RUNS.glob("*/grid")):
        name, _, optimizer = place.parent.name.rpartition("-")
        outcome = pipeline.report(place)
        if any(trial.state in ("waiting", "running") for trial in outcome.trials):
            print(f"{place}: not complete, left out")
            continue
        probe = epsearch.ProbeResult.load(place.parent / "probe" / "probe.json")
        histogram = probe.histogram
        median = min(power for k in range(-300, 100) if histogram.above(power := 10 ** (k / 10)) < 0.5)
        probes.append(
            {
                "workload": name,
                "optimizer": optimizer,
                "goal": outcome.goal,
                "metric": outcome.metric,
                "lower": probe.range.lower,
                "upper": probe.range.upper,
                "median": median,
                "batches_per_epoch": probe.settings["batches_per_epoch"],
                "trial_seconds": round(sum(trial.seconds or 0.0 for trial in outcome.trials)),
            }
        )
        rows += [
            {
                "workload": name,
                "optimizer": optimizer,
                "lr": trial.lr,
                "eps": trial.eps,
                "beta2": trial.beta2,
                "value": trial.value,
                "diverged": trial.fail_reason == "diverged",
                "epochs": [value for _, value in trial.history],
            }
            for trial in outcome.trials
        ]
    RESULTS.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), RESULTS / "outcomes.parquet", compression="zstd")
    machine = {"cores": os.cpu_count(), "processor": processor(), "python": platform.python_version()}
    versions = {"torch": torch.__version__, "epsearch": epsearch.__version__, "date": time.strftime("%Y-%m-%d")}
    said = {"command": "python benchmarks/outcomes.py", **machine, **versions, "tables": probes}
    (RESULTS / "outcomes.json").write_text(json.dumps(said, indent=1) + "\n")


def tables(results: Path = RESULTS) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """What `collect` kept: for each table what is said of its probe, and its rows."""
    rows = pyarrow.parquet.read_table(results / "outcomes.parquet").to_pylist()
    for probe in json.loads((results / "outcomes.json").read_text())["tables"]:
        yield probe, [row for row in rows if all(row[key] == probe[key] for key in ("workload", "optimizer"))]


def best_row(probe: dict[str, Any], rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The row with the best value, by the table's goal; None where none has a value."""
    pick = max if probe["goal"] == "maximize" else min
    return pick((row for row in rows if row["value"] is not None), key=lambda row: row["value"], default=None)


def range_of(probe: dict[str, Any]) -> EpsilonRange:
    """The range that was probed."""
    return EpsilonRange(lower=probe["lower"], upper=probe["upper"])


def processor() -> str:
    """Its name, as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in (HERE / "outcomes").glob("*.yaml"))
    for name in names:
        for optimizer in EPS:
            compute(name, optimizer)
        collect()


if __name__ == "__main__":
    main()
