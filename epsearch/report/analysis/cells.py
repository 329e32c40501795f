"""What one cell of a map says when several trials, or none, fall into it (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from epsearch.records.trial import Goal, Trial, best_trial

CellState = Literal["complete", "pruned", "missing", "diverged", "failed"]

PRECEDENCE: tuple[CellState, ...] = ("complete", "pruned", "missing", "diverged", "failed")
"""Which state speaks for a cell of several trials: the first that any of them has.

`missing` (waiting or running) comes before the failures, so a trial that was lost and queued again, or a
cell whose other beta2 are still to come, does not look settled.
"""


def state_of(trial: Trial) -> CellState:
    """How the trial ended, as a reader of a map needs it; complete without a value counts as failed."""
    if trial.state in ("running", "waiting"):
        return "missing"
    if trial.state == "failed" and trial.fail_reason == "diverged":
        return "diverged"
    if trial.state == "pruned":
        return "pruned"
    return "complete" if trial.state == "complete" and trial.value is not None else "failed"


@dataclass(frozen=True)
class MapCell:
    """One cell: its state, the trial that speaks for it (None where there is none), all its trials."""

    state: CellState
    trial: Trial | None
    trials: tuple[Trial, ...]

    @property
    def value(self) -> float | None:
        """The best value over the remaining hyperparameters (Figs. 6, 7 and 10); None unless complete."""
        return self.trial.value if self.trial is not None and self.state == "complete" else None


def cell_of(trials: Sequence[Trial], goal: Goal) -> MapCell:
    """Let the trials of one cell speak with one voice: the first state of `PRECEDENCE`, its best trial."""
    for state in PRECEDENCE:
        if alike := [trial for trial in trials if state_of(trial) == state]:
            return MapCell(state, best_trial(alike, goal), tuple(trials))
    return MapCell("missing", None, ())
