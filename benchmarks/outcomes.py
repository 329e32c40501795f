"""Compute dense tables of outcomes over lr, eps and beta2 with epsearch, on which searches are compared.

For each study file in `benchmarks/outcomes/` and each of its optimizers: a probe at its default settings, and a grid
over LRS × EPS × the file's beta2. Run directories are kept in runs/outcomes/, so that an interrupted run resumes.
Results are in benchmarks/results/outcomes.parquet (a row per cell, with its metric after every epoch, averaged over
seeds, the best of these, and the best of each seed) and outcomes.json (the probes; the sum of the trials' seconds,
which overlap where cells are trained together; the machine). A table that is computed again replaces the previous one.

    EPSEARCH_DATA=… python benchmarks/outcomes.py [NAME ...]
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from reproduction import on_what

import epsearch
from epsearch import pipeline
from epsearch.records.epsilon import EpsilonRange, power_of_ten
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.study.file import load_study
from epsearch.study.space import auto_beta2

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

OPTIMIZERS = {"digits-gru": ["adam", "rmsprop"], "digits-vit": ["adam", "rmsprop"]}
"""The optimizers of a study, where they are not all of EPS."""

PART = 300_000
"""Bytes of War and Peace that the LSTM trains on."""


def part_of_war_and_peace() -> Path:
    """Write its beginning to a file."""
    data = Path(os.environ["EPSEARCH_DATA"])
    part = RUNS.absolute() / f"war-and-peace-{PART}.txt"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes((data / "war-and-peace" / "warandpeace.txt").read_bytes()[:PART])
    return part


def settings(name: str, optimizer: str) -> list[str]:
    """Overrides of the study file for this optimizer and machine."""
    chosen = [f"optimizer.name={optimizer}"]
    return [*chosen, f"workload.path={part_of_war_and_peace()}"] if name == "war-and-peace-lstm" else chosen


def run_probe(name: str, optimizer: str) -> epsearch.ProbeResult:
    """Run the probe unless it exists."""
    study, place = HERE / "outcomes" / f"{name}.yaml", RUNS / f"{name}-{optimizer}"
    result = pipeline.probe(study, settings(name, optimizer), place / "probe")
    assert result is not None, "the study files ask for one"
    return result


def compute(name: str, optimizer: str) -> None:
    """Run the probe and the grid unless they exist."""
    study, place = HERE / "outcomes" / f"{name}.yaml", RUNS / f"{name}-{optimizer}"
    run_probe(name, optimizer)
    began = time.time()
    dense = [f"search.lr={LRS}", f"search.eps={EPS[optimizer]}"]
    outcome = epsearch.run(study, overrides=[*settings(name, optimizer), *dense], directory=place / "grid")
    print(f"{name} {optimizer}: {len(outcome.trials)} cells, {time.time() - began:.0f} s", flush=True)


def collect() -> None:
    """Write every complete run to the two result files."""
    rows, probes = [], []
    for place in sorted(RUNS.glob("*/grid")):
        outcome = pipeline.report(place)
        if any(trial.state in ("waiting", "running") for trial in outcome.trials):
            print(f"{place}: not complete, left out")
            continue
        name, _, optimizer = place.parent.name.rpartition("-")
        mine = {"workload": name, "optimizer": optimizer}
        said = said_of(epsearch.ProbeResult.load(place.parent / "probe" / "probe.json"), outcome)
        probes.append({**mine, **said})
        # Trials that a killed run lost were retried, and are there twice.
        finished = (trial for trial in outcome.trials if trial.state == "complete" or trial.fail_reason == "diverged")
        rows += [{**mine, **cell(trial, said)} for trial in finished]
    recomputed = {table_of(probe) for probe in probes}
    for probe, kept in tables() if (RESULTS / "outcomes.json").exists() else ():
        if table_of(probe) not in recomputed:
            probes.append(probe)
            rows += kept
    probes.sort(key=table_of)
    RESULTS.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), RESULTS / "outcomes.parquet", compression="zstd")
    (RESULTS / "outcomes.json").write_text(json.dumps({"tables": probes}, indent=1) + "\n")


def said_of(probe: epsearch.ProbeResult, outcome: Outcome) -> dict[str, Any]:
    """The probed range, the search space, the duration and the machine."""
    histogram = probe.histogram
    settings = load_study(outcome.directory / "study.yaml").training
    return {
        "goal": outcome.goal,
        "metric": outcome.metric,
        "epochs": settings.epochs,
        "seeds": len(settings.seeds),
        "lower": probe.range.lower,
        "upper": probe.range.upper,
        "median": min(power for k in range(-300, 100) if histogram.above(power := 10 ** (k / 10)) < 0.5),
        "batches_per_epoch": probe.settings["batches_per_epoch"],
        "trial_seconds": round(sum(trial.seconds or 0.0 for trial in outcome.trials)),
        "on": on_what(),
    }


def cell(trial: Trial, said: dict[str, Any]) -> dict[str, Any]:
    """A row of the table. If a seed diverged, the cell has the epochs until the first divergence."""
    epochs = said["epochs"]
    curves = trial.curves
    whole = [len(seed) for seed in curves] == [epochs] * said["seeds"]
    curve = [statistics.mean(values) for values in zip(*curves, strict=True)] if whole else next(iter(curves), [])
    best = max if said["goal"] == "maximize" else min
    return {
        "lr": trial.lr,
        "eps": trial.eps,
        "beta2": trial.beta2,
        "value": best(curve, default=None),
        "seed_values": [best(seed, default=None) for seed in curves],
        "diverged": not whole,
        "epochs": curve,
    }


def table_of(probe: dict[str, Any]) -> tuple[str, str]:
    """The key of a table."""
    return probe["workload"], probe["optimizer"]


def tables(results: Path = RESULTS) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Read what `collect` wrote: the probe and the rows of each table."""
    rows = pyarrow.parquet.read_table(results / "outcomes.parquet").to_pylist()
    for probe in json.loads((results / "outcomes.json").read_text())["tables"]:
        yield probe, [row for row in rows if all(row[key] == probe[key] for key in ("workload", "optimizer"))]


def best_row(probe: dict[str, Any], rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The row with the best value, by the table's goal; None if no row has a value."""
    pick = max if probe["goal"] == "maximize" else min
    return pick((row for row in rows if row["value"] is not None), key=lambda row: row["value"], default=None)


def at_ruled_beta2(probe: dict[str, Any], rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows at the table's β₂ nearest to the rule's (β₁ = 0.9)."""
    rows = list(rows)
    beta2 = ruled_beta2({row["beta2"] for row in rows}, probe["batches_per_epoch"])
    return [row for row in rows if row["beta2"] == beta2]


def ruled_beta2(beta2s: Iterable[float], batches_per_epoch: int) -> float:
    """The β₂ nearest to the rule's (β₁ = 0.9)."""
    ruled = auto_beta2(batches_per_epoch, 0.9)
    return min(beta2s, key=lambda other: abs(math.log((1 - other) / (1 - ruled))))


def range_of(probe: dict[str, Any]) -> EpsilonRange:
    """The probed range."""
    return EpsilonRange(lower=probe["lower"], upper=probe["upper"])


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in (HERE / "outcomes").glob("*.yaml"))
    for optimizer in EPS:
        for name in names:
            if optimizer in OPTIMIZERS.get(name, EPS):
                compute(name, optimizer)
                collect()


if __name__ == "__main__":
    main()
