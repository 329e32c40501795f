"""Shared by the recording callbacks: a recorder for the whole training, saved to a file after every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from epsearch.core.errors import UserError
from epsearch.probing.recorder import Recorder
from epsearch.records.probe import ProbeHistory, ProbeResult
from epsearch.records.series import series


class Recording:
    """The `history` and `result` of a callback; subclasses call `begin` and `end_epoch`.

    With `path` the history is saved there after every epoch, and a resumed training continues the file. `percentiles`
    are those of `epsearch.measure`.
    """

    def __init__(self, path: str | Path | None = None, *, percentiles: Sequence[float] = (2, 98)) -> None:
        super().__init__()
        self._path, self._percentiles = Path(path) if path is not None else None, percentiles
        self._recorder: Recorder | None = None

    @property
    def history(self) -> ProbeHistory:
        """All epochs recorded so far, as in `epsearch.Recorder.history`.

        Raises:
            UserError: no epoch was recorded.
        """
        return self._begun.history

    @property
    def result(self) -> ProbeResult:
        """The probe's result, read after the first epoch, as in `epsearch.Recorder.result`.

        Raises:
            UserError: no epoch was recorded, or an earlier process recorded the first one.
        """
        return self._begun.result

    def begin(self, optimizer: torch.optim.Optimizer, model: torch.nn.Module | None, trained: int) -> None:
        """Start recording, or continue after `trained` epochs.

        Raises:
            UserError: the optimizer is not supported, or the file to continue holds no history.
        """
        if trained and self._recorder is not None and self._recorder.recorded:
            earlier: ProbeHistory | None = self._recorder.history
        elif trained and self._path is not None and self._path.exists():
            earlier = ProbeHistory.load(self._path)
        else:
            earlier = None
        # The history may have epochs after the checkpoint.
        kept = [reading for reading in earlier.epochs if reading.epoch <= trained] if earlier else []
        history = earlier.model_copy(update={"epochs": kept}) if earlier and kept else None
        self._recorder = Recorder(optimizer, model, percentiles=self._percentiles, history=history)

    def end_epoch(self, epoch: int, *, save: bool) -> dict[str, float]:
        """Record the end of `epoch` (1 is the first); of several processes only one should `save`.

        Returns the values to log, of `epsearch.records.series`; none if nothing could be measured.
        """
        recorder = self._begun
        result = recorder.record(epoch)
        if save and self._path is not None and recorder.recorded:
            recorder.history.save(self._path)
        return series(result) if result is not None else {}

    @property
    def _begun(self) -> Recorder:
        if self._recorder is None:
            raise UserError("nothing is recorded yet: pass this callback to a trainer and train.")
        return self._recorder
