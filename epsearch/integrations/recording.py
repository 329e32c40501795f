"""What the callbacks share: a recorder from the start of a training to its end, kept in a file on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from epsearch.core.errors import UserError
from epsearch.probing.recorder import Recorder
from epsearch.records.probe import ProbeHistory, ProbeResult


class Recording:
    """A callback's `history` and `result`; the subclass calls `begin` and `end_epoch`.

    With `path` the history is saved there after every epoch, and a training that is resumed goes on with the file.
    `percentiles` mean what they mean to `epsearch.measure`.
    """

    def __init__(self, path: str | Path | None = None, *, percentiles: Sequence[float] = (2, 98)) -> None:
        super().__init__()
        self._path, self._percentiles = Path(path) if path is not None else None, percentiles
        self._recorder: Recorder | None = None

    @property
    def history(self) -> ProbeHistory:
        """Every epoch recorded so far, as `epsearch.Recorder.history`.

        Raises:
            UserError: none was.
        """
        return self._begun.history

    @property
    def result(self) -> ProbeResult:
        """What the probe would have found, read after the first epoch, as `epsearch.Recorder.result`.

        Raises:
            UserError: no epoch was recorded, or the first one by an earlier process.
        """
        return self._begun.result

    def begin(self, optimizer: torch.optim.Optimizer, model: torch.nn.Module | None, trained: int) -> None:
        """Training begins, or goes on after `trained` epochs.

        Raises:
            UserError: the optimizer is not known; the file to go on with holds no history.
        """
        if trained and self._recorder is not None and self._recorder.recorded:
            earlier: ProbeHistory | None = self._recorder.history
        elif trained and self._path is not None and self._path.exists():
            earlier = ProbeHistory.load(self._path)
        else:
            earlier = None
        # A checkpoint may be older than what was recorded since.
        kept = [reading for reading in earlier.epochs if reading.epoch <= trained] if earlier else []
        history = earlier.model_copy(update={"epochs": kept}) if earlier and kept else None
        self._recorder = Recorder(optimizer, model, percentiles=self._percentiles, history=history)

    def end_epoch(self, epoch: int, *, save: bool) -> None:
        """`epoch` epochs are done (1: the first); one process of several saves."""
        recorder = self._begun
        recorder.record(epoch)
        if save and self._path is not None and recorder.recorded:
            recorder.history.save(self._path)

    @property
    def _begun(self) -> Recorder:
        if self._recorder is None:
            raise UserError("nothing is recorded yet: give this callback to a trainer, and train.")
        return self._recorder
