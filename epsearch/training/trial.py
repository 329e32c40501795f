"""One trial: a cell trained with each seed of the study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from epsearch.core.numbers import label
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig
from epsearch.training.checkpoint import TrialCheckpoint
from epsearch.training.log import log
from epsearch.training.run import Run


class Trial:
    """A cell's runs, one for each seed, and how the trial ended.

    `report(seed index, metric)` receives each epoch's metric and returns whether to continue. The trial resumes from
    the checkpoint in `path`, and saves its own there. `number` is the trial's number in the log.
    """

    def __init__(
        self,
        config: StudyConfig,
        cell: Cell,
        device: torch.device,
        report: Callable[[int, float], bool],
        path: Path | None,
        number: int | None,
    ) -> None:
        self._config, self._cell, self._device, self._report = config, cell, device, report
        self._title = "trial" if number is None else f"trial {number}"
        self._checkpoint = TrialCheckpoint(path, config.training.checkpoint_every, device)
        self.ending: Ending | None = None
        """How the trial ended; None while it is running."""

    def begin(self, seed_index: int, seed: int) -> Run | None:
        """Return the run for this seed; None if the trial has ended, or if its checkpoint is past this seed."""
        if self.ending is not None:
            return None
        values: list[float] = []
        self._checkpoint.values.append(values)

        def on_report(value: float) -> bool:
            values.append(value)
            return self._report(seed_index, value)

        kept = self._checkpoint.kept_values
        if seed_index < len(kept) - 1:
            self._checkpoint.history = self._checkpoint.kept_history
            if not all(on_report(value) for value in kept[seed_index]):
                self._end("pruned")
            return None
        log(f"--- {self._title}: {describe(self._cell)}, seed {seed} ---")
        recording = self._config.training.record_histograms and seed_index == 0
        return Run(
            self._config,
            self._cell,
            seed,
            self._device,
            recording=recording,
            on_report=on_report,
            checkpoint=self._checkpoint,
            title=self._title,
        )

    def conclude(self, run: Run, *, last: bool) -> None:
        """Update the ending after a seed's run; `last` marks the run of the last seed."""
        self._checkpoint.history = self._checkpoint.history or run.history
        if run.error is not None:
            self._end("raised", run.error)
        elif not self._checkpoint.values[-1]:
            # Diverged before its first finite value: no other seed can make up for it.
            if run.diverged:
                self._end("diverged")
            else:
                self._end("raised", "the train function never called run.report()")
        elif run.ended and not run.diverged:
            self._end("pruned")
        elif last:
            self._end("finished")

    def _end(self, kind: Literal["finished", "pruned", "diverged", "raised"], error: str | None = None) -> None:
        self.ending = Ending(kind=kind, error=error, history=self._checkpoint.history)


def describe(cell: Cell) -> str:
    """`adam, lr 1e-3, eps 1e-8, beta2 0.999`."""
    values = {"lr": cell.lr, "eps": cell.eps, "beta2": cell.beta2}
    return ", ".join(
        [cell.optimizer, *(f"{name} {label(name, value)}" for name, value in values.items() if value is not None)]
    )
