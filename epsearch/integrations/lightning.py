"""Callbacks for Lightning's Trainer: ẑ after every epoch of a training, and a training that is a study's trial.

    from epsearch.integrations.lightning import EpsilonRecorder  # Figs. 8, 9, 12, 14 to 17; Table 2

    recorder = EpsilonRecorder()
    lightning.Trainer(max_epochs=20, callbacks=[recorder]).fit(model, loader)
    recorder.result.range.grid()                # the probe's answer, read after the first epoch
    recorder.history.adaptive_fraction(1e-3)    # the share of ẑ above ε after each epoch

    from epsearch.integrations.lightning import RunReporter

    def train(run):  # `workload: {train: "my_module:train"}`; configure_optimizers returns run.optimizer(self)
        lightning.Trainer(max_epochs=run.planned_epochs(20), callbacks=[RunReporter(run)]).fit(MyModule(run), loader)

They serve the trainers of `lightning` and of `pytorch_lightning` alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from epsearch.core.errors import UserError
from epsearch.integrations.recording import Recording
from epsearch.integrations.reporting import Reporting

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise ImportError("these callbacks need Lightning: pip install 'epsearch[lightning]'") from error


class EpsilonRecorder(Recording, Callback):  # type: ignore[misc]
    """Records ẑ of one of the module's optimizers at the end of every training epoch; nothing at a step.

    `history` and `result` as in `epsearch.Recorder`; of several optimizers it is the one of that index in the order of
    `configure_optimizers`. With `path` the history is saved there after every epoch, and a fit that is resumed from a
    checkpoint goes on with the file.
    """

    def __init__(
        self, path: str | Path | None = None, *, percentiles: Sequence[float] = (2, 98), optimizer: int = 0
    ) -> None:
        super().__init__(path, percentiles=percentiles)
        self._index = optimizer

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that the optimizer is known, before an epoch is spent."""
        self.begin(trainer.optimizers[self._index], pl_module, trained=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Read ẑ."""
        self.end_epoch(trainer.current_epoch + 1, save=trainer.is_global_zero)


class RunReporter(Reporting, Callback):  # type: ignore[misc]
    """Reports the metrics of every epoch to `run`, and stops the trainer when the run is over: pruned, or diverged.

    The study's metric is the logged `metric`; unless given, for accuracy, `val_accuracy` or another such name, else
    `accuracy`. Validation has to run in every epoch; Lightning's check of it before training does not count.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that no epoch would be reported with the metrics of an earlier one.

        Raises:
            UserError: validation runs in some epochs only.
        """
        if trainer.enable_validation and trainer.check_val_every_n_epoch != 1:
            raise UserError("RunReporter needs a validation in every epoch: Trainer(check_val_every_n_epoch=1).")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report, validation included.

        Raises:
            UserError: the study's metric was not logged.
        """
        if not self.tell(trainer.callback_metrics):
            trainer.should_stop = True
