"""Callbacks for Hugging Face's Trainer: ẑ after every epoch of a training, and a training that is a study's trial.

from epsearch.integrations.transformers import EpsilonRecorder  # Figs. 8, 9, 12, 14 to 17; Table 2

recorder = EpsilonRecorder()
transformers.Trainer(model, arguments, train_dataset=data, callbacks=[recorder]).train()
recorder.result.range.grid()                # the probe's answer, read after the first epoch
recorder.history.adaptive_fraction(1e-3)    # the share of ẑ above ε after each epoch

from epsearch.integrations.transformers import RunReporter

def train(run):  # `workload: {train: "my_module:train"}`; arguments with num_train_epochs=run.planned_epochs(20)
    optimizers = (run.optimizer(model), None)
    transformers.Trainer(model, arguments, …, optimizers=optimizers, callbacks=[RunReporter(run)]).train()
"""

from __future__ import annotations

import math
from typing import Any

from epsearch.core.errors import UserError
from epsearch.integrations.recording import Recording
from epsearch.integrations.reporting import Reporting

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError("these callbacks need Transformers: pip install 'epsearch[transformers]'") from error


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


class RunReporter(Reporting, TrainerCallback):  # type: ignore[misc]
    """Reports the evaluation of every epoch to `run`, and stops the trainer when the run is over: pruned, or diverged.

    The study's metric is the evaluation's `metric`; unless given, for accuracy, `eval_accuracy`. There has to be an
    evaluation after every epoch (`eval_strategy="epoch"`); one after the training does not count.
    """

    _training = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Check that every epoch will be evaluated.

        Raises:
            UserError: it will not.
        """
        if args.eval_strategy != "epoch":
            raise UserError('RunReporter needs an evaluation in every epoch: TrainingArguments(eval_strategy="epoch").')
        self._training = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Report.

        Raises:
            UserError: the study's metric was not computed.
        """
        if self._training and not self.tell(given["metrics"]):
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """What is evaluated from here on is no epoch of the run."""
        self._training = False
