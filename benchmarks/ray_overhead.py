"""Measure trials per second of a train function that reports once: the Ray engine and a bare `tune.Tuner`.

Both use FIFO scheduling, reuse_actors, one CPU per trial and Optuna's TPE over three parameters in a SQLite file, and
import torch in the worker as any training does. Bare means Ray's `OptunaSearch` and a function that calls `tune.report`
once, as in the documentation. One Ray, one interleaved run; the ratio is taken pair by pair. `whole` is from the call
to its return, including the start of the workers; `warm` is from the end of the first trial.

Ray listens on every interface, so:

    unshare -n sh -c 'ip link set lo up; python benchmarks/ray_overhead.py [pairs] [trials]'
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from rich.console import Console
from rich.table import Table

from epsearch.engines.ray.engine import RayEngine
from epsearch.records.listener import Listener
from epsearch.search.storage import open_storage
from epsearch.search.study import SharedStudy
from epsearch.study.file import load_study
from epsearch.study.plan import spaces

STUDY = """
name: overhead
workload: {train: "noop:train"}
training: {epochs: 1}
metric: {name: score, goal: maximize}
search: {eps: {low: 1e-8, high: 1e-2}, lr: {low: 1e-4, high: 1e-1}, beta2: [0.9, 0.99, 0.999]}
engine: {name: ray, sampler: tpe}
"""
NOOP = "def train(run):\n    run.report(score=1.0)\n"


class Ends(Listener):
    """When each trial ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def trial_ended(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


class EndsCallback(tune.Callback):
    def __init__(self, times: list[float]) -> None:
        self.times = times

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


def rates(began: float, ends: list[float], trials: int) -> tuple[float, float]:
    assert len(ends) == trials, (len(ends), trials)
    return trials / (time.perf_counter() - began), (trials - 1) / (ends[-1] - ends[0])


def bare(folder: Path, name: str, trials: int) -> tuple[float, float]:
    def objective(config: dict[str, Any]) -> None:
        import torch  # noqa: F401

        tune.report({"score": 1.0})

    space = {
        "lr": tune.loguniform(1e-4, 1e-1),
        "eps": tune.loguniform(1e-8, 1e-2),
        "beta2": tune.choice([0.9, 0.99, 0.999]),
    }
    storage = open_storage(f"sqlite:///{folder}/{name}.db")
    ends: list[float] = []
    began = time.perf_counter()
    tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                metric="score", mode="max", sampler=optuna.samplers.TPESampler(seed=0), storage=storage
            ),
            num_samples=trials,
            reuse_actors=True,
            metric="score",
            mode="max",
        ),
        run_config=tune.RunConfig(storage_path=str(folder / name), verbose=0, callbacks=[EndsCallback(ends)]),
    ).fit()
    return rates(began, ends, trials)


def engine(folder: Path, name: str, trials: int) -> tuple[float, float]:
    config = load_study(folder / "study.yaml", [f"engine.trials={trials}"])
    opened, ends = open_storage(f"sqlite:///{folder}/{name}.db"), Ends()
    began = time.perf_counter()
    (space,) = spaces(config, None, None).values()
    with RayEngine(config, folder / "logs") as ours:
        ours.search([SharedStudy(opened, config, "adam", space)], ends)
    return rates(began, ends.times, trials)


def main() -> None:
    pairs, trials = (int(argument) for argument in (*sys.argv[1:], *("5", "40")[len(sys.argv) - 1 :]))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    table = Table("", "engine (trials/s)", "bare (trials/s)", "ratio, median", "min", "max")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "study.yaml").write_text(STUDY)
        (folder / "noop.py").write_text(NOOP)
        ours, theirs = [], []
        for pair in range(pairs + 1):
            # The first pair warms up.
            ours.append(engine(folder, f"engine-{pair}", trials))
            theirs.append(bare(folder, f"bare-{pair}", trials))
    for row, what in enumerate(("whole", "warm")):
        mine, other = ([rate[row] for rate in found[1:]] for found in (ours, theirs))
        ratios = [a / b for a, b in zip(mine, other, strict=True)]
        table.add_row(
            what,
            *(f"{statistics.median(found):.1f}" for found in (mine, other)),
            *(f"{f(ratios):.2f}" for f in (statistics.median, min, max)),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
