"""Searches for lr and eps, simulated over the dense tables of outcomes.py: a trial is looked up instead of trained.

    python benchmarks/search_comparison.py benchmarks/results [SEEDS]

What a search draws is the nearest cell of the table; an eps beyond the table's ends is its end, which is right only
where the ends are plateaus. Every search has the table's whole lr and the β₂ of the rule. Epochs are counted, the
probe's one included. The goal is a value within 0.5 % of the best of the whole table, β₂ included.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import optuna

from epsearch.records import EpsilonRange
from epsearch.space import auto_beta2

TRIALS = 200
"""The budget, in trials that are trained to their end."""

CLOSE = 0.005


@dataclass(frozen=True)
class Table:
    """One workload and optimizer: the metric after every epoch by (lr, eps); a diverged cell's curve ends early."""

    goal: str
    epochs: int
    best: float
    curves: dict[tuple[float, float], list[float]]
    found: EpsilonRange

    @cached_property
    def lrs(self) -> list[float]:
        """Of the table, ascending."""
        return sorted({lr for lr, _ in self.curves})

    @cached_property
    def epss(self) -> list[float]:
        """Of the table, ascending."""
        return sorted({eps for _, eps in self.curves})

    def curve(self, lr: float, eps: float) -> list[float]:
        """Of the nearest cell."""
        return self.curves[nearest(self.lrs, lr), nearest(self.epss, eps)]

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is the better value."""
        return one > other if self.goal == "maximize" else one < other

    def close(self, value: float) -> bool:
        """Whether a value is within 0.5 % of the best."""
        return abs(value - self.best) <= CLOSE * abs(self.best) or self.better(value, self.best)


Step = tuple[int, list[float]]
"""Epochs spent on a trial, and its finite metrics."""
Search = Callable[[Table, int], Iterator[Step]]


def nearest(points: list[float], value: float) -> float:
    """The nearest of the points by ratio; beyond the ends, the end."""
    return min(points, key=lambda point: abs(math.log(point / value)))


def spent(table: Table, curve: list[float]) -> int:
    """Epochs of a whole trial: the one in which it diverged counts."""
    return min(len(curve) + 1, table.epochs)


def epochs_to_target(table: Table, steps: Iterable[Step], start: int = 0) -> int | None:
    """Epochs until a trial has ended whose best epoch is close to the table's best; None beyond the budget."""
    total = start
    for epochs, values in steps:
        total += epochs
        if total > TRIALS * table.epochs:
            return None
        if any(table.close(value) for value in values):
            return total
    return None


def grid(eps: Callable[[Table], list[float]]) -> Search:
    """lr × eps in an order that the seed shuffles."""

    def search(table: Table, seed: int) -> Iterator[Step]:
        cells = list(itertools.product(table.lrs, eps(table)))
        random.Random(seed).shuffle(cells)
        for cell in cells:
            curve = table.curve(*cell)
            yield spent(table, curve), curve

    return search


def sampled(bounds: Callable[[Table], tuple[float, float]], sampler: str, *, halving: bool = False) -> Search:
    """Optuna's sampler over log-uniform lr and eps, asked and told; with `halving`, pruned on the tables' epochs."""

    def search(table: Table, seed: int) -> Iterator[Step]:
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        pruner = optuna.pruners.SuccessiveHalvingPruner() if halving else optuna.pruners.NopPruner()
        study = optuna.create_study(direction=table.goal, sampler=samplers[sampler](seed=seed), pruner=pruner)
        low, high = bounds(table)
        while True:
            trial = study.ask()
            lr = trial.suggest_float("lr", table.lrs[0], table.lrs[-1], log=True)
            eps = low if low == high else trial.suggest_float("eps", low, high, log=True)
            curve = table.curve(lr, eps)
            seen: list[float] = []
            pruned = False
            for step, value in enumerate(curve, start=1):
                seen.append(value)
                trial.report(value, step)
                if pruned := halving and step < len(curve) and trial.should_prune():
                    break
            if pruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            elif seen:
                study.tell(trial, max(seen) if table.goal == "maximize" else min(seen))
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            yield len(seen) if pruned else spent(table, curve), seen

    return search


def _range(table: Table) -> tuple[float, float]:
    return table.found.lower, table.found.upper


SEARCHES: dict[str, tuple[int, Search]] = {
    "a: grid of the range": (1, grid(lambda table: table.found.grid())),
    "b: endpoints": (1, grid(lambda table: table.found.endpoints())),
    "c: TPE in the range": (1, sampled(_range, "tpe")),
    "d: TPE, 1e-10 to 1e+10": (0, sampled(lambda _: (1e-10, 1e10), "tpe")),
    "e: TPE, 1e-16 to 1e-5": (0, sampled(lambda _: (1e-16, 1e-5), "tpe")),
    "f: random, 1e-10 to 1e+10": (0, sampled(lambda _: (1e-10, 1e10), "random")),
    "g: successive halving, 1e-10 to 1e+10": (0, sampled(lambda _: (1e-10, 1e10), "random", halving=True)),
    "h: eps 1e-8": (0, grid(lambda _: [1e-8])),
}
"""By name: epochs spent on a probe, and the search."""


def read(results: Path) -> dict[str, Table]:
    """The tables of outcomes.py, at the β₂ of the rule (β₁ = 0.9)."""
    # Here, since with it come torch and pyarrow, which a simulation over a table of one's own does without.
    from outcomes import best_row, range_of, tables

    found = {}
    for probe, mine in tables(results):
        best = best_row(probe, mine)
        assert best is not None, "a table has values"
        ruled = auto_beta2(probe["batches_per_epoch"], 0.9)
        beta2 = min({row["beta2"] for row in mine}, key=lambda other: abs(math.log((1 - other) / (1 - ruled))))
        found[f"{probe['workload']} {probe['optimizer']}"] = Table(
            probe["goal"],
            max(len(row["epochs"]) for row in mine),
            best["value"],
            {(row["lr"], row["eps"]): row["epochs"] for row in mine if row["beta2"] == beta2},
            range_of(probe),
        )
    return found


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    print("| table | search | reached | epochs, lower quartile | median | upper quartile |\n|---|---|---|---|---|---|")
    for name, table in read(Path(sys.argv[1])).items():
        for label, (start, search) in SEARCHES.items():
            ends = [epochs_to_target(table, search(table, seed), start) for seed in range(seeds)]
            # A seed that never came close is the slowest of all, not left out.
            known = [math.inf if end is None else end for end in ends]
            cells = (statistics.median_low(part) for part in quarters(known))
            reached = sum(end is not None for end in ends) / seeds
            print(
                f"| {name} | {label} | {reached:.0%} | " + " | ".join(f"{cell:g}" for cell in cells) + " |", flush=True
            )


def quarters(values: list[float]) -> tuple[list[float], list[float], list[float]]:
    """Whose medians are the quartiles: the lower half, all, the upper half."""
    ordered, half = sorted(values), (len(values) + 1) // 2
    return ordered[:half], ordered, ordered[-half:]


if __name__ == "__main__":
    main()
