"""Run searches of search_comparison.py for real: `epsearch run` with the same number of trials, no lookup.

    EPSEARCH_DATA=… python benchmarks/search_for_real.py    # writes a table of docs/benchmarks.md

β₂ by the rule, one seed of the training, seeds 0 to 2 of the sampler. lr is auto, or from 1e-4 to 3.16. Reported are
the best value after all trials, and the epochs until a trial ends within the tolerance of the best value that any
search found: the probe's, the learning-rate test's and all trials'. The tolerance is that of the workload's dense table
(dense.py).
"""

from __future__ import annotations

import math
import shutil
import statistics
import sys
from pathlib import Path

import optuna
from dense import read
from reproduction import write
from search_comparison import PAGE

import epsearch
from epsearch.core.numbers import number
from epsearch.records.outcome import Outcome

HERE = Path(__file__).parent
RUNS = Path("runs/for-real")
WORKLOADS = ["digits-cnn", "digits-gru", "fashion-mnist-mlp", "tabular-mlp-long"]
SEEDS = range(3)
TRIALS = 15

BOUNDS, WIDE = "search.lr={low: 1e-4, high: 3.162}", "search.eps={low: 1e-10, high: 1e10}"
SEARCHES = {
    "guided": ["search.lr=auto", "search.eps=grid", "engine.sampler=guided"],
    "grid by distance from the ridge": ["search.lr=auto", "search.eps=grid"],
    "TPE in the range": [BOUNDS, "search.eps=continuous", "engine.sampler=tpe"],
    "TPE, 1e-10 to 1e+10": [BOUNDS, WIDE, "engine.sampler=tpe"],
}
COMMON = ["search.beta2=auto", "engine.together=1", "engine.name=inline"]


def run(workload: str, label: str, seed: int) -> Outcome:
    """Run a study from the start."""
    run_dir = RUNS / f"{workload}-{label.replace(' ', '-')}-{seed}"
    shutil.rmtree(run_dir, ignore_errors=True)
    # Another seed of the training would make the values of the searches incomparable.
    settings = [*COMMON, *SEARCHES[label], "training.seeds=[0]", f"engine.seed={seed}"]
    if "engine.sampler" in " ".join(settings):
        settings.append(f"engine.trials={TRIALS}")
    return epsearch.run(HERE / "outcomes" / f"{workload}.yaml", settings, run_dir)


def epochs_to(outcome: Outcome, target: float) -> float:
    """Epochs until a trial reaches the target, with those of the probe and the learning-rate test."""
    spent = 0.0
    if outcome.probe is not None:
        spent += 1
        if outcome.lr_test is not None:
            spent += len(outcome.lr_test.lrs) / int(outcome.probe.settings["batches_per_epoch"] or 1)
    for trial in sorted(outcome.trials, key=lambda trial: trial.number):
        spent += trial.epochs
        if trial.value is not None and (trial.value >= target if outcome.goal == "maximize" else trial.value <= target):
            return spent
    return math.inf


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tolerances = {table.workload: table.tolerance for table in read() if table.optimizer == "adam"}
    lines = ["| workload | search | trials | best, median of 3 seeds | worst | epochs to the goal, median |"]
    lines.append("|---|---|---|---|---|---|")
    for workload in WORKLOADS:
        # A grid does not depend on the seed: run it once.
        ran = {
            label: [run(workload, label, seed) for seed in ([0] if label.startswith("grid") else SEEDS)]
            for label in SEARCHES
        }
        found = [outcome.best.value for each in ran.values() for outcome in each if outcome.best]
        goal = ran["guided"][0].goal
        pick = max if goal == "maximize" else min
        best = pick(value for value in found if value is not None)
        slack = tolerances[workload] * abs(best)
        target = best - slack if goal == "maximize" else best + slack
        for label, each in ran.items():
            values = sorted(outcome.best.value for outcome in each if outcome.best and outcome.best.value is not None)
            worst = values[0] if goal == "maximize" else values[-1]
            ends = statistics.median_low(epochs_to(outcome, target) for outcome in each)
            cells = [workload, label, str(len(each[0].trials)), number(statistics.median_low(values)), number(worst)]
            cells.append(f"{ends:.3g}".replace("inf", "–"))
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr, flush=True)
    PAGE.write_text(write(PAGE.read_text(), {"for real": "\n".join(lines)}))


if __name__ == "__main__":
    main()
