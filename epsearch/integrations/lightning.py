"""A callback for Lightning's Trainer: ẑ after every epoch of a training (Figs. 8, 9, 12, 14 to 17; Table 2).

    from epsearch.integrations.lightning import EpsilonRecorder

    recorder = EpsilonRecorder()
    lightning.Trainer(max_epochs=20, callbacks=[recorder]).fit(model, loader)
    recorder.result.range.grid()                # the probe's answer, read after the first epoch
    recorder.history.adaptive_fraction(1e-3)    # the share of ẑ above ε after each epoch

It serves the trainers of `lightning` and of `pytorch_lightning` alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from epsearch.integrations.recording import Recording

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise ImportError("this callback needs Lightning: pip install 'epsearch[lightning]'") from error


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
