"""Time `epsearch report` on studies of 1,000 and 10,000 trials, and measure the page.

The studies are in SQLite, each trial with the values of ten epochs, over a grid of 10 lr, 10 eps and
the beta2 needed. The runs alternate between the sizes; each includes the start of Python.

    python benchmarks/report_speed.py [ROUNDS]
"""

from __future__ import annotations

import itertools
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console
from rich.table import Table

from epsearch.search.same_study import IDENTITY
from epsearch.search.storage import open_storage
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study
from epsearch.study.identity import identity

SIZES = (1000, 10000)
STUDY = """
name: many
workload: {train: "none:train"}
training: {epochs: 10}
metric: {name: accuracy}
search: {eps: {low: 1e-10, high: 1e-1}, lr: {low: 1e-8, high: 10}, beta2: 0.999}
"""


def make(place: Path, trials: int) -> Path:
    """A run directory with `trials` complete trials."""
    place.mkdir()
    (place / "study.yaml").write_text(STUDY)
    directory = place / "run"
    config = load_study(place / "study.yaml")
    run = RunDirectory.of(config, directory)
    with run.taken_for(config):
        study = optuna.create_study(storage=open_storage(run.storage(config)), study_name="many", direction="maximize")
        study.set_user_attr(IDENTITY, identity(config))
        betas = [1 - 0.5 ** (k + 1) for k in range(trials // 100)]
        space = {
            "lr": FloatDistribution(1e-8, 10, log=True),
            "eps": FloatDistribution(1e-10, 0.1, log=True),
            "beta2": FloatDistribution(0.1, 1),
        }
        made = []
        for lr, eps, beta2 in itertools.product(range(-8, 2), range(-10, 0), betas):
            values = {step: 0.9 - 0.01 * abs(lr + 2) - 0.01 * abs(eps + 4) - 0.5 / step for step in range(1, 11)}
            parameters = {"lr": 10.0**lr, "eps": 10.0**eps, "beta2": min(beta2, math.nextafter(1, 0))}
            made.append(
                create_trial(
                    state=TrialState.COMPLETE,
                    params=parameters,
                    distributions=space,
                    value=values[10],
                    intermediate_values=values,
                )
            )
        study.add_trials(made)
    return directory


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    pages: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = {size: make(Path(folder) / str(size), size) for size in SIZES}
        for _ in range(rounds):
            for size, directory in runs.items():
                began = time.perf_counter()
                subprocess.run(["epsearch", "report", str(directory)], check=True, stdout=subprocess.DEVNULL)
                seconds[size].append(time.perf_counter() - began)
                pages[size] = (directory / "report.html").stat().st_size / 1e6
    table = Table("trials", "median s", "min s", "max s", "report.html, MB")
    for size, times in seconds.items():
        table.add_row(f"{size:,}", *(f"{of(times):.1f}" for of in (statistics.median, min, max)), f"{pages[size]:.1f}")
    Console().print(table)
    small, large = (statistics.median(seconds[size]) for size in SIZES)
    print(f"ten times the trials take {large / small:.1f} times as long; {rounds} interleaved rounds")


if __name__ == "__main__":
    main()
