"""The dense tables of outcomes.py as searches are judged on them: smoothed, with their noise and a goal that knows it.

A single cell may be the best of its table by luck. So the best is taken from values smoothed over neighbouring eps, and
a search has arrived when a trial is worse than that by no more than `Table.tolerance`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from epsearch.records.epsilon import EpsilonRange
from epsearch.records.probe import ProbeResult

CLOSE = 0.005
"""The least tolerance: a share of the best value."""

GOOD = 0.05
"""Losses below that are of cells that learn."""

RESULTS = Path(__file__).parent / "results"

Cell = tuple[float, float]
"""lr and eps."""


@dataclass(frozen=True)
class Table:
    """One workload and optimizer: the metric after every epoch by (lr, eps); a diverged cell's curve ends early."""

    workload: str
    optimizer: str
    goal: str
    epochs: int
    batches_per_epoch: int
    curves: dict[Cell, list[float]]
    probe: ProbeResult

    @property
    def name(self) -> str:
        """Workload and optimizer."""
        return f"{self.workload} {self.optimizer}"

    @property
    def found(self) -> EpsilonRange:
        """The probed range."""
        return self.probe.pooled_range

    @cached_property
    def lrs(self) -> list[float]:
        """All lr of the table, ascending."""
        return sorted({lr for lr, _ in self.curves})

    @cached_property
    def epss(self) -> list[float]:
        """All eps of the table, ascending."""
        return sorted({eps for _, eps in self.curves})

    def cell(self, lr: float, eps: float) -> Cell:
        """The nearest cell of the table."""
        return nearest(self.lrs, lr), nearest(self.epss, eps)

    @cached_property
    def values(self) -> dict[Cell, float]:
        """The best value over the epochs of each cell that has one."""
        pick = max if self.goal == "maximize" else min
        return {cell: pick(curve) for cell, curve in self.curves.items() if curve}

    @cached_property
    def smoothed(self) -> dict[Cell, float]:
        """The mean of each cell and its neighbours in eps, at the same lr."""
        found = {}
        for lr, eps in self.values:
            index = self.epss.index(eps)
            near = self.epss[max(index - 1, 0) : index + 2]
            found[lr, eps] = statistics.mean(self.values[lr, each] for each in near if (lr, each) in self.values)
        return found

    @cached_property
    def best(self) -> float:
        """The best smoothed value."""
        return (max if self.goal == "maximize" else min)(self.smoothed.values())

    def lost(self, value: float) -> float:
        """How much a value is worse than the best, as a share of the best; negative if it is better."""
        return (self.best - value if self.goal == "maximize" else value - self.best) / abs(self.best)

    @cached_property
    def plateau(self) -> list[float]:
        """The eps that the theory says are equal: too small to change an update."""
        return [eps for eps in self.epss if eps <= self.found.lower]

    @cached_property
    def noise(self) -> float:
        """The standard deviation over equal eps, at the lr that are good there, as a share of the best value."""
        rows = [[self.values[lr, eps] for eps in self.plateau if (lr, eps) in self.values] for lr in self.lrs]
        rows = sorted((row for row in rows if len(row) > 1), key=lambda row: self.lost(statistics.mean(row)))
        # Where training is unstable, equal cells differ by far more than good ones do.
        good = rows[:1] + [row for row in rows[1:] if self.lost(statistics.mean(row)) < GOOD]
        return math.sqrt(statistics.mean(map(statistics.variance, good))) / abs(self.best) if good else 0.0

    @property
    def tolerance(self) -> float:
        """The loss at which a search has arrived."""
        return max(CLOSE, 2 * self.noise)


def nearest(points: list[float], value: float) -> float:
    """The nearest of the points by ratio; beyond the ends, the end."""
    return min(points, key=lambda point: abs(math.log(point / value)))


def read(results: Path = RESULTS) -> Iterator[Table]:
    """The tables of outcomes.py, at the β₂ of the rule."""
    # Imported here: it loads torch and pyarrow, which a simulation over another table does not need.
    from outcome_probes import records
    from outcomes import at_ruled_beta2, tables

    probes = records()
    for about, rows in tables(results):
        name, optimizer = about["workload"], about["optimizer"]
        yield Table(
            name,
            optimizer,
            about["goal"],
            about["epochs"],
            about["batches_per_epoch"],
            {(row["lr"], row["eps"]): row["epochs"] for row in at_ruled_beta2(about, rows)},
            probes[f"{name} {optimizer}"],
        )
