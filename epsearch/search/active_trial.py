"""A trial while it runs."""

from __future__ import annotations

from pathlib import Path

import optuna

from epsearch.records.trial import Cell


class ActiveTrial:
    """A running trial: its cell, its checkpoint file, and what its seeds have reported so far."""

    def __init__(self, trial: optuna.Trial, cell: Cell, checkpoint: Path | None) -> None:
        self.trial, self.cell, self.checkpoint = trial, cell, checkpoint
        self.best: dict[int, float] = {}
        """The best finite value of each seed, by the seed's index."""
        self.epochs: dict[int, int] = {}
        """The epochs reported by each seed."""
        self.steps = 0
        """The last step reported."""
        self.known_steps = 0
        """The last step that an earlier attempt reported before its process died."""
        self.interference: str | None = None
        """How the trial was ended from outside, so that its result is dropped."""

    @property
    def number(self) -> int:
        """The trial's number in its Optuna study."""
        return self.trial.number

    def restart(self) -> None:
        """Start over in another process, from the beginning or from the checkpoint: its epochs are reported again."""
        self.known_steps = max(self.known_steps, self.steps)
        self.steps = 0
        self.best.clear()
        self.epochs.clear()
