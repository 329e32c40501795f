"""The state and value of one cell of a map, aggregated over its trials. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from epsearch.records.trial import Goal, Trial, best_trial

CellState = Literal["complete", "pruned", "missing", "diverged", "failed"]

PRECEDENCE: tuple[CellState, ...] = ("complete", "pruned", "missing", "diverged", "failed")
"""The state of a cell of several trials: the first of these that any of them has.

`missing` (waiting or running) comes before the failures, so that a cell with retries or further beta2 values pending
does not look finished.
"""


def state_of(trial: Trial) -> CellState:
    """The trial's state on a map; a complete trial without a value counts as failed."""
    if trial.state in ("running", "waiting"):
        return "missing"
    if trial.state == "failed" and trial.fail_reason == "diverged":
        return "diverged"
    if trial.state == "pruned":
        return "pruned"
    return "complete" if trial.state == "complete" and trial.value is not None else "failed"


@dataclass(frozen=True)
class MapCell:
    """One cell of a map: its state, the trial that represents it (None if empty), all its trials."""

    state: CellState
    trial: Trial | None
    trials: tuple[Trial, ...]

    @property
    def value(self) -> float | None:
        """The best value over the remaining hyperparameters (Figs. 6, 7 and 10); None unless complete."""
        return self.trial.value if self.trial is not None and self.state == "complete" else None


def cell_of(trials: Sequence[Trial], goal: Goal) -> MapCell:
    """Aggregate the trials of one cell: the first state of `PRECEDENCE`, and the best trial in that state."""
    for state in PRECEDENCE:
        if alike := [trial for trial in trials if state_of(trial) == state]:
            return MapCell(state, best_trial(alike, goal), tuple(trials))
    return MapCell("missing", None, ())
