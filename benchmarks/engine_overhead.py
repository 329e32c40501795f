"""Trials per second of a no-op objective, with the Optuna engine and with plain `study.optimize`.

Both store three parameters and one intermediate value per trial in SQLite files on the same disk. The two alternate in
one run; ratios are computed pair by pair.

    python benchmarks/engine_overhead.py [pairs] [trials]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from epsearch.engines.local.engine import search
from epsearch.engines.local.pool import Pool
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
"""
NOOP = "def train(run):\n    run.report(score=1.0)\n"


def storage(folder: Path, name: str) -> optuna.storages.BaseStorage:
    return open_storage(f"sqlite:///{folder}/{name}.db")


def bare(folder: Path, name: str, sampler: str, trials: int) -> float:
    grid = {"lr": [1e-4, 1e-3, 1e-2, 1e-1], "eps": [float(f"1e-{k}") for k in range(2, 9)], "beta2": [0.9, 0.99, 0.999]}

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        trial.suggest_float("eps", 1e-8, 1e-2, log=True)
        trial.suggest_categorical("beta2", [0.9, 0.99, 0.999])
        trial.report(1.0, 1)
        return 1.0

    samplers = {
        "grid": lambda: optuna.samplers.GridSampler(grid, seed=0),
        "random": lambda: optuna.samplers.RandomSampler(seed=0),
        "tpe": lambda: optuna.samplers.TPESampler(seed=0),
    }
    study = optuna.create_study(storage=storage(folder, name), sampler=samplers[sampler]())
    began = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    trials = len(study.trials)  # a grid ends early
    return trials / (time.perf_counter() - began)


def engine(folder: Path, name: str, sampler: str, trials: int, pool: Pool) -> float:
    settings = [] if sampler == "grid" else [f"engine.sampler={sampler}", f"engine.trials={trials}"]
    config = load_study(folder / "study.yaml", settings)
    opened = storage(folder, name)
    began = time.perf_counter()  # enqueueing the cells is part of the engine's work
    (space,) = spaces(config, None, None).values()
    study = SharedStudy(opened, config, "adam", space)
    count = study.left
    search([study], pool, 1, Listener())
    return count / (time.perf_counter() - began)


def main() -> None:
    pairs, trials = (int(argument) for argument in (*sys.argv[1:], *("7", "84")[len(sys.argv) - 1 :]))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = Table("sampler", "engine (trials/s)", "bare (trials/s)", "ratio, median", "min", "max")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "study.yaml").write_text(STUDY)
        (folder / "noop.py").write_text(NOOP)
        with Pool(load_study(folder / "study.yaml"), 1, folder / "logs") as pool:
            pool.call("ready")
            for sampler in ("grid", "random", "tpe"):
                ours, theirs = [], []
                for pair in range(pairs + 1):
                    # The first pair warms up.
                    ours.append(engine(folder, f"engine-{sampler}-{pair}", sampler, trials, pool))
                    theirs.append(bare(folder, f"bare-{sampler}-{pair}", sampler, trials))
                ours, theirs = ours[1:], theirs[1:]
                ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
                cells = (statistics.median(ours), statistics.median(theirs))
                table.add_row(
                    sampler,
                    *(f"{cell:.1f}" for cell in cells),
                    *(f"{f(ratios):.2f}" for f in (statistics.median, min, max)),
                )
    Console().print(table)


if __name__ == "__main__":
    main()
