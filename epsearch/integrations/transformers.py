"""A callback for Hugging Face's Trainer: ẑ after every epoch of a training (Figs. 8, 9, 12, 14 to 17; Table 2).

from epsearch.integrations.transformers import EpsilonRecorder

recorder = EpsilonRecorder()
transformers.Trainer(model, arguments, train_dataset=data, callbacks=[recorder]).train()
recorder.result.range.grid()                # the probe's answer, read after the first epoch
recorder.history.adaptive_fraction(1e-3)    # the share of ẑ above ε after each epoch
"""

from __future__ import annotations

import math
from typing import Any

from epsearch.integrations.recording import Recording

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError("this callback needs Transformers: pip install 'epsearch[transformers]'") from error


class EpsilonRecorder(Recording, TrainerCallback):  # type: ignore[misc]
    """Records ẑ of the Trainer's optimizer at the end of every training epoch; nothing at a step.

    `history` and `result` as in `epsearch.Recorder`. With `path` the history is saved there after every epoch, and a
    training that is resumed from a checkpoint goes on with the file.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Check that the optimizer is known, before an epoch is spent."""
        self.begin(given["optimizer"], given["model"], trained=int(state.epoch or 0))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Read ẑ."""
        # With max_steps the last epoch may be a part of one.
        self.end_epoch(math.ceil(state.epoch - 1e-6), save=state.is_world_process_zero)
