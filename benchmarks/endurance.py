"""Measure whether 3,000 no-op trials slow a study down or fill the driver's memory, for grid, random and TPE.

Each case is a separate study in a separate process, run by `epsearch.run` with one worker and SQLite. As usual, another
process redraws the report every minute, and the driver at the end. The trials are split into tenths. Rates are per
wall-clock second; the driver's CPU time per trial depends less on the machine's load. Memory is the driver's resident
set after the last trial of a tenth.

`bare` is plain Optuna, for comparison: `study.optimize` with TPE over the same axes in SQLite.

    python benchmarks/endurance.py [TRIALS] [CASE ...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
import yaml
from rich.console import Console
from rich.table import Table

import epsearch
from epsearch.records.listener import Listener
from epsearch.search.storage import open_storage

NOOP = "def train(run):\n    run.report(score=run.lr + run.eps + run.beta2)\n"
CASES = ("grid", "random", "tpe", "bare")
EARLY = 300
"""The final memory is compared with the memory after this many trials."""


class Meter(Listener):
    """Records wall-clock seconds, CPU seconds and resident MiB after each trial."""

    def __init__(self) -> None:
        self.readings = [_reading()]

    def trial_ended(self, *_: Any, **__: Any) -> None:
        self.readings.append(_reading())


def _reading() -> tuple[float, float, float]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return time.perf_counter(), time.process_time(), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def study(sampler: str, trials: int) -> dict[str, Any]:
    """A study file: a sampler over intervals of lr and eps, or a grid with the same number of cells."""
    search: dict[str, Any] = {"lr": {"low": 1e-4, "high": 1e-1}, "eps": {"low": 1e-8, "high": 1e-2}}
    engine: dict[str, Any] = {"sampler": sampler, "trials": trials}
    if sampler == "grid":
        engine = {"sampler": "grid"}
        columns = next(size for size in range(int(trials**0.5), 0, -1) if trials % size == 0)
        search["lr"] = [1e-4 * (1 + place) for place in range(columns)]
        search["eps"] = [1e-8 * (1 + place) for place in range(trials // columns)]
    return {
        "name": "endurance",
        "workload": {"train": "noop:train"},
        "training": {"epochs": 1},
        "metric": {"name": "score", "goal": "maximize"},
        "search": {**search, "beta2": 0.999},
        "engine": engine,
    }


def measure(case: str, trials: int) -> list[tuple[float, float, float]]:
    """Run one case in this process; return readings from before the first trial, after each, and after the run."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    meter = Meter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if case == "bare":
            bare(folder, trials, meter)
        else:
            (folder / "noop.py").write_text(NOOP)
            (folder / "study.yaml").write_text(yaml.safe_dump(study(case, trials)))
            epsearch.run(folder / "study.yaml", directory=folder / "run", listener=meter)
    assert len(meter.readings) == trials + 1, len(meter.readings)
    return [*meter.readings, _reading()]


def bare(folder: Path, trials: int, meter: Meter) -> None:
    """Run the trials with plain Optuna."""

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        eps = trial.suggest_float("eps", 1e-8, 1e-2, log=True)
        trial.report(lr + eps, 1)
        return lr + eps

    optuna.create_study(
        storage=open_storage(f"sqlite:///{folder}/study.db"),
        sampler=optuna.samplers.TPESampler(seed=0),
        direction="maximize",
    ).optimize(objective, n_trials=trials, callbacks=[meter.trial_ended])


def summary(readings: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """For each tenth: trials per second, CPU milliseconds per trial, resident MiB at its end."""
    tenths = []
    for tenth in range(10):
        first, last = (round(end * (len(readings) - 1) / 10) for end in (tenth, tenth + 1))
        (began, used, _), (ended, used_then, memory) = readings[first], readings[last]
        count = last - first
        tenths.append((count / (ended - began), 1000 * (used_then - used) / count, memory))
    return tenths


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    timeline = Table("case", "per tenth", *(str(tenth + 1) for tenth in range(10)))
    ratios = (
        "last tenth's rate / first's",
        "CPU per trial, last / first",
        f"memory / after {EARLY}",
        "with the last report",
    )
    verdict = Table("case", *ratios)
    for case in sys.argv[2:] or CASES:
        command = [sys.executable, __file__, "--one", case, str(trials)]
        # The first trial waits for the worker to import torch: not part of the first tenth.
        _, *readings, end = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        tenths = summary(readings)
        rows = zip(("trials/s", "driver's CPU ms per trial", "resident MiB"), zip(*tenths, strict=True), strict=True)
        for what, values in rows:
            timeline.add_row(case if what == "trials/s" else "", what, *(f"{value:.1f}" for value in values))
        first, last = tenths[0], tenths[-1]
        early = readings[min(EARLY, len(readings)) - 1][2]
        found = last[0] / first[0], last[1] / first[1], last[2] / early, end[2] / early
        verdict.add_row(case, *(f"{ratio:.2f}" for ratio in found))
    console = Console(width=160)
    console.print(timeline)
    console.print(verdict)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
