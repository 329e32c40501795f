"""Watching on: ẑ at the end of every epoch of a full training (Figs. 8, 9, 12, 14 to 17; Table 2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch

from epsearch.core.errors import UserError
from epsearch.optimizers import denominator_reader
from epsearch.probing.measure import measure
from epsearch.records.probe import EpochReading, ProbeHistory, ProbeResult


class Recorder:
    """Keeps a reading of ẑ for each epoch of any training: call `record()` at the end of each.

    It reads the state that the optimizer keeps anyway, as `epsearch.measure` does, and only then: no training step
    gets slower, and nothing of the training changes. Kept are the pooled histogram of each epoch and the whole
    result of the first. `model`, `percentiles` and `settings` mean what they mean to `measure`; with `history`, that
    of a training that was interrupted, the recorder goes on with it.

    Raises:
        UserError: the optimizer is not known.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: torch.nn.Module | None = None,
        *,
        percentiles: Sequence[float] = (2, 98),
        settings: Mapping[str, float | int | str | None] | None = None,
        history: ProbeHistory | None = None,
    ) -> None:
        denominator_reader(optimizer)  # an unknown optimizer is said before an epoch is spent
        self._optimizer, self._model = optimizer, model
        self._percentiles, self._settings = percentiles, dict(settings or {})
        self._history = history
        self._first: ProbeResult | None = None

    def record(self, epoch: int | None = None) -> None:
        """Read ẑ after `epoch` epochs of training: one more than last time unless given (1 is the first).

        Where nothing is left to measure, because the training diverged, say, this warns and records nothing: to be
        watched must not end a training.

        Raises:
            UserError: `epoch` is no later than the last one recorded.
        """
        last = self._history.epochs[-1].epoch if self._history else 0
        epoch = last + 1 if epoch is None else epoch
        if epoch <= last:
            raise UserError(
                f"record: epoch {epoch} does not come after epoch {last}, the last recorded (the first epoch is 1)."
            )
        settings = {"epochs": epoch, **self._settings}
        try:
            result = measure(self._optimizer, self._model, percentiles=self._percentiles, settings=settings)
        except UserError as error:
            warnings.warn(f"epoch {epoch} is not recorded: {error}", stacklevel=2)
            return
        reading = EpochReading(epoch=epoch, range=result.range, histogram=result.histogram)
        if self._history is None:
            self._first = result
            self._history = ProbeHistory(optimizer=result.optimizer, epochs=[reading], settings=result.settings)
        else:
            self._history = self._history.model_copy(update={"epochs": [*self._history.epochs, reading]})

    @property
    def recorded(self) -> int:
        """How many epochs have been recorded."""
        return len(self._history.epochs) if self._history else 0

    @property
    def history(self) -> ProbeHistory:
        """Every epoch recorded so far.

        Raises:
            UserError: none was.
        """
        if self._history is None:
            raise UserError("nothing is recorded yet: call record() at the end of an epoch.")
        return self._history

    @property
    def result(self) -> ProbeResult:
        """What the probe would have found: ẑ after the first epoch, each tensor by itself.

        Raises:
            UserError: no epoch was recorded, or the first one by an earlier recorder.
        """
        if self._first is None:
            epochs = self.history.epochs
            raise UserError(
                f"this recorder went on with a history that begins with epoch {epochs[0].epoch}, of which only the "
                "pooled histogram is kept: history.range is its range."
            )
        return self._first
