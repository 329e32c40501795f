"""Run the searches of search_comparison.py for real: `epsearch run` with the same number of trials, no lookup.

    EPSEARCH_DATA=… unshare -n sh -c 'ip link set lo up; python benchmarks/search_for_real.py'

Writes a table of docs/benchmarks.md. Search g uses Ray, which listens on every interface; hence the network namespace.

lr from 1e-4 to 1, β₂ by the rule, 25 trials, sampler seeds 0 to 2; the grid of the range uses powers of ten for lr.
Reported are the best value after all trials, and the epochs, including that of the probe, until a trial ends within
0.5 % of the best value that any of the searches found.
"""

from __future__ import annotations

import math
import shutil
import statistics
import sys
from pathlib import Path

import optuna
from reproduction import write
from search_comparison import CLOSE, PAGE

import epsearch
from epsearch.core.numbers import number
from epsearch.records.outcome import Outcome

HERE = Path(__file__).parent
RUNS = Path("runs/for-real")
WORKLOADS = ["digits-mlp", "fashion-mnist-mlp"]
SEEDS = range(3)
TRIALS = 25

TPE = ["engine.sampler=tpe", f"engine.trials={TRIALS}"]
SEARCHES = {
    "a: grid of the range": ["search.eps=grid"],
    "b: endpoints": ["search.eps=endpoints"],
    "c: TPE in the range": ["search.eps=continuous", *TPE],
    "d: TPE, 1e-10 to 1e+10": ["search.eps={low: 1e-10, high: 1e10}", *TPE],
    "e: TPE, 1e-16 to 1e-5": ["search.eps={low: 1e-16, high: 1e-5}", *TPE],
    "f: random, 1e-10 to 1e+10": ["search.eps={low: 1e-10, high: 1e10}", "engine.sampler=random", *TPE[1:]],
    "g: Ray Tune's ASHA, 1e-10 to 1e+10": [
        "search.eps={low: 1e-10, high: 1e10}",
        f"engine={{name: ray, sampler: random, pruner: asha, trials: {TRIALS}}}",
    ],
    "h: the default eps": ["search.eps=1e-8", *TPE],
}
COMMON = ["search.lr={low: 1e-4, high: 1.0}", "search.beta2=auto", "training.seeds=[0]", "engine.together=1"]


def run(workload: str, label: str, seed: int) -> Outcome:
    """Run a study from the start."""
    run_dir = RUNS / f"{workload}-{label[0]}-{seed}"
    shutil.rmtree(run_dir, ignore_errors=True)
    settings = [*COMMON, *SEARCHES[label], f"engine.seed={seed}"]
    return epsearch.run(HERE / "outcomes" / f"{workload}.yaml", settings, run_dir)


def epochs_to(outcome: Outcome, target: float) -> float:
    """Epochs until a trial reaches the target, including that of the probe."""
    spent = 1 if outcome.probe else 0
    for trial in sorted(outcome.trials, key=lambda trial: trial.number):
        spent += trial.epochs
        if trial.value is not None and (trial.value >= target if outcome.goal == "maximize" else trial.value <= target):
            return spent
    return math.inf


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = ["| workload | search | trials | best, median of 3 seeds | worst | epochs to the goal, median |"]
    lines.append("|---|---|---|---|---|---|")
    for workload in WORKLOADS:
        # A grid does not depend on the seed: run it once.
        ran = {
            label: [run(workload, label, seed) for seed in ([0] if label[0] in "ab" else SEEDS)] for label in SEARCHES
        }
        found = [outcome.best.value for each in ran.values() for outcome in each if outcome.best]
        outcome = ran["h: the default eps"][0]
        pick = max if outcome.goal == "maximize" else min
        best = pick(value for value in found if value is not None)
        target = best - CLOSE * abs(best) if outcome.goal == "maximize" else best + CLOSE * abs(best)
        for label, each in ran.items():
            values = sorted(outcome.best.value for outcome in each if outcome.best and outcome.best.value is not None)
            worst = values[0] if outcome.goal == "maximize" else values[-1]
            ends = statistics.median_low(epochs_to(outcome, target) for outcome in each)
            cells = [workload, label, str(len(each[0].trials)), number(statistics.median_low(values)), number(worst)]
            cells.append(f"{ends:g}".replace("inf", "–"))
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr, flush=True)
    PAGE.write_text(write(PAGE.read_text(), {"for real": "\n".join(lines)}))


if __name__ == "__main__":
    main()
