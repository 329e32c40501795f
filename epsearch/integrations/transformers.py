"""Callbacks for Hugging Face's Trainer: record ẑ after every epoch, or report a study's trial.

from epsearch.integrations.transformers import EpsilonRecorder  # Figs. 8, 9, 12, 14 to 17; Table 2

recorder = EpsilonRecorder()
transformers.Trainer(model, arguments, train_dataset=data, callbacks=[recorder]).train()
recorder.result.range.grid()                # the probe's result, after the first epoch
recorder.history.adaptive_fraction(1e-3)    # the fraction of ẑ above ε after each epoch

from epsearch.integrations.transformers import RunReporter

def train(run):  # `workload: {train: "my_module:train"}`; arguments with num_train_epochs=run.planned_epochs(20)
    optimizers = (run.optimizer(model), None)
    transformers.Trainer(model, arguments, …, optimizers=optimizers, callbacks=[RunReporter(run)]).train()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from epsearch.core.errors import UserError
from epsearch.integrations.recording import Recording
from epsearch.integrations.reporting import Reporting

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError("these callbacks need Transformers: pip install 'epsearch[transformers]'") from error


class EpsilonRecorder(Recording, TrainerCallback):  # type: ignore[misc]
    """Record ẑ of the Trainer's optimizer at the end of every training epoch; adds nothing to a step.

    `history` and `result` are those of `epsearch.Recorder`. With `path` the history is saved there after every epoch,
    and a training that resumes from a checkpoint continues the file. With `log`, the Trainer's own method, its loggers
    get the values of `epsearch.records.series` of every epoch:
    `trainer.add_callback(EpsilonRecorder(log=trainer.log))`.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        percentiles: Sequence[float] = (2, 98),
        log: Callable[[dict[str, float]], object] | None = None,
    ) -> None:
        super().__init__(path, percentiles=percentiles)
        self._log = log

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Fail fast on unknown optimizers."""
        self.begin(given["optimizer"], given["model"], trained=int(state.epoch or 0))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Read ẑ."""
        # With max_steps the last epoch may be incomplete.
        values = self.end_epoch(math.ceil(state.epoch - 1e-6), save=state.is_world_process_zero)
        if self._log is not None and values:
            self._log(values)


class RunReporter(Reporting, TrainerCallback):  # type: ignore[misc]
    """Report the evaluation of every epoch to `run`, and stop the trainer when the run is pruned or diverges.

    `metric` is the evaluation's name for the study's metric (default, for accuracy: `eval_accuracy`). Evaluation must
    run after every epoch (`eval_strategy="epoch"`); an evaluation after training is ignored.
    """

    _training = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Check that every epoch will be evaluated.

        Raises:
            UserError: `eval_strategy` is not "epoch".
        """
        if args.eval_strategy != "epoch":
            raise UserError('RunReporter needs evaluation in every epoch: TrainingArguments(eval_strategy="epoch").')
        self._training = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Report the epoch.

        Raises:
            UserError: the study's metric was not computed.
        """
        if self._training and not self.report_epoch(given["metrics"]):
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Ignore later evaluations, which are not epochs of the run."""
        self._training = False
