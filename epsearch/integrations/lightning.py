"""Callbacks for Lightning's Trainer: record ẑ after every epoch, or report a study's trial.

    from epsearch.integrations.lightning import EpsilonRecorder  # Figs. 8, 9, 12, 14 to 17; Table 2

    recorder = EpsilonRecorder()
    lightning.Trainer(max_epochs=20, callbacks=[recorder]).fit(model, loader)
    recorder.result.range.grid()                # the probe's result, after the first epoch
    recorder.history.adaptive_fraction(1e-3)    # the fraction of ẑ above ε after each epoch

    from epsearch.integrations.lightning import RunReporter

    def train(run):  # `workload: {train: "my_module:train"}`; configure_optimizers returns run.optimizer(self)
        lightning.Trainer(max_epochs=run.planned_epochs(20), callbacks=[RunReporter(run)]).fit(MyModule(run), loader)

They work with both `lightning` and `pytorch_lightning`.
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
    """Record ẑ of an optimizer at the end of every training epoch; adds nothing to a step.

    `history` and `result` are those of `epsearch.Recorder`. `optimizer` is an index into the optimizers that
    `configure_optimizers` returns. With `path` the history is saved there after every epoch, and a fit that resumes
    from a checkpoint continues the file. With `log` the trainer's logger gets the values of `epsearch.records.series`
    of every epoch.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        percentiles: Sequence[float] = (2, 98),
        optimizer: int = 0,
        log: bool = True,
    ) -> None:
        super().__init__(path, percentiles=percentiles)
        self._index, self._log = optimizer, log

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Fail fast on unknown optimizers."""
        self.begin(trainer.optimizers[self._index], pl_module, trained=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Read ẑ."""
        values = self.end_epoch(trainer.current_epoch + 1, save=trainer.is_global_zero)
        if self._log:
            pl_module.log_dict(values)


class RunReporter(Reporting, Callback):  # type: ignore[misc]
    """Report the metrics of every epoch to `run`, and stop the trainer when the run is pruned or diverges.

    `metric` is the logged name of the study's metric. Default, for a study on accuracy: `val_accuracy` or a similar
    name, or else `accuracy`. Validation must run in every epoch; Lightning's sanity check before training is ignored.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that every epoch has its own metrics.

        Raises:
            UserError: validation does not run in every epoch.
        """
        if trainer.enable_validation and trainer.check_val_every_n_epoch != 1:
            raise UserError("RunReporter needs validation in every epoch: Trainer(check_val_every_n_epoch=1).")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the epoch, including validation.

        Raises:
            UserError: the study's metric was not logged.
        """
        if not self.report_epoch(trainer.callback_metrics):
            trainer.should_stop = True
