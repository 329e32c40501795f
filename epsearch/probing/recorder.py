"""Record ẑ after every epoch of a full training (Figs. 8, 9, 12, 14 to 17; Table 2)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence

import torch

from epsearch.core.errors import UserError
from epsearch.optimizers import denominator_reader
from epsearch.probing.measure import measure
from epsearch.records.probe import EpochReading, ProbeHistory, ProbeResult, RangeKind


class Recorder:
    """Record ẑ after every epoch of a training: call `record()` at the end of each epoch.

    Like `epsearch.measure` it only reads the optimizer's state, so training steps are neither slowed down nor changed.
    It keeps the pooled histogram of every epoch and the full result of the first. `model`, `range`, `percentiles`,
    `exclude` and `settings` are those of `measure`. Pass the `history` of an interrupted training to continue it.

    Raises:
        UserError: the optimizer is not supported.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: torch.nn.Module | None = None,
        *,
        range: RangeKind = "pooled",
        percentiles: Sequence[float] = (2, 98),
        exclude: Sequence[str] = (),
        settings: Mapping[str, float | int | str | None] | None = None,
        history: ProbeHistory | None = None,
    ) -> None:
        denominator_reader(optimizer)  # fail fast on unknown optimizers
        self._measure = functools.partial(
            measure, optimizer, model, range=range, percentiles=percentiles, exclude=exclude
        )
        self._settings = dict(settings or {})
        self._history = history
        self._first: ProbeResult | None = None

    def record(self, epoch: int | None = None) -> ProbeResult | None:
        """Read ẑ after `epoch` epochs of training (default: one more than the last; the first is 1), and return it.

        If nothing can be measured, for example because the training diverged, this warns, records nothing
        and returns None, so that recording never ends a training.

        Raises:
            UserError: `epoch` is not later than the last recorded epoch.
        """
        last = self._history.epochs[-1].epoch if self._history else 0
        epoch = last + 1 if epoch is None else epoch
        if epoch <= last:
            raise UserError(
                f"record: epoch {epoch} does not come after epoch {last}, the last recorded (the first epoch is 1)."
            )
        settings = {"epochs": epoch, **self._settings}
        try:
            result = self._measure(settings=settings)
        except UserError as error:
            warnings.warn(f"epoch {epoch} is not recorded: {error}", stacklevel=2)
            return None
        reading = EpochReading(epoch=epoch, range=result.range, histogram=result.histogram)
        if self._history is None:
            self._first = result
            self._history = ProbeHistory(optimizer=result.optimizer, epochs=[reading], settings=result.settings)
        else:
            self._history = self._history.model_copy(update={"epochs": [*self._history.epochs, reading]})
        return result

    @property
    def recorded(self) -> int:
        """The number of recorded epochs."""
        return len(self._history.epochs) if self._history else 0

    @property
    def history(self) -> ProbeHistory:
        """All epochs recorded so far.

        Raises:
            UserError: no epoch was recorded.
        """
        if self._history is None:
            raise UserError("nothing is recorded yet: call record() at the end of an epoch.")
        return self._history

    @property
    def result(self) -> ProbeResult:
        """The probe's result: ẑ of each tensor after the first epoch.

        Raises:
            UserError: no epoch was recorded, or an earlier recorder recorded the first one.
        """
        if self._first is None:
            epochs = self.history.epochs
            raise UserError(
                f"this recorder continued a history that starts at epoch {epochs[0].epoch}; only that epoch's pooled "
                "histogram was kept. Its range is history.range."
            )
        return self._first
