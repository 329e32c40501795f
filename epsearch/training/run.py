"""What one training run knows and tells: the `run` of a user's own `train(run)`, and of our own loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from epsearch.core.errors import DriverGone, StudyError, UserError
from epsearch.optimizers import create_optimizer, denominator_reader, unwrapped
from epsearch.probing.measure import measure
from epsearch.probing.recorder import Recorder
from epsearch.records.probe import ProbeHistory, ProbeResult
from epsearch.records.trial import Cell
from epsearch.study.config import StudyConfig
from epsearch.training.checkpoint import TrialCheckpoint
from epsearch.training.faults import ends_process
from epsearch.training.log import described, log, log_error
from epsearch.training.seeding import random_states, set_random_states


class Run:
    """One training run: a cell, a seed, a device; a probe (`probing`) or a trial, perhaps with its ẑ on record.

    A user's own loop builds its optimizer with `optimizer(model)`, or reads `lr`, `eps`, `beta1` and `beta2`,
    builds it itself and calls `watch(optimizer)`; goes through `epochs()`; and calls `report(metric=value)` at the
    end of each. The same function then serves as probe and as trial. A loop that is to go on where a lost machine
    left it hands `report` a `checkpoint` and starts from `restore()`.
    """

    def __init__(
        self,
        config: StudyConfig,
        cell: Cell,
        seed: int,
        device: torch.device,
        *,
        probing: bool = False,
        recording: bool = False,
        on_report: Callable[[float], bool] = lambda _: True,
        checkpoint: TrialCheckpoint | None = None,
        title: str = "run",
    ) -> None:
        self._config, self._cell, self._on_report = config, cell, on_report
        # A baseline has no ẑ.
        self._recording = recording and cell.eps is not None
        self._recorder: Recorder | None = None
        self._checkpoint = checkpoint
        self._kept_history: ProbeHistory | None = None
        self._kept_random: dict[str, Any] | None = None
        self.first_epoch = 0
        """The epoch to begin with: 0, or the one after the checkpoint that was restored."""
        self.seed = seed
        self.device = device
        self.probing = probing
        self.ended = False
        """Whether this run is over before its last epoch: pruned, or a value was not finite."""
        self.diverged = False
        """Whether a loss or metric became NaN or infinite."""
        self.error: str | None = None
        """The exception that ended it, in one line."""
        self.title = title
        """What the worker's log calls it."""
        self._watched: tuple[torch.optim.Optimizer, torch.nn.Module | None] | None = None
        self._counting: torch.utils.hooks.RemovableHandle | None = None
        self._steps = self._reports = 0
        self._epoch: int | None = None

    @property
    def metric(self) -> str:
        """The name of the study's metric, which `report` must be given."""
        return self._config.metric.name

    @property
    def lr(self) -> float:
        """This trial's α."""
        return self._cell.lr

    @property
    def eps(self) -> float:
        """This trial's ε."""
        if self._cell.eps is None:
            raise UserError(f"{self._cell.optimizer} has no eps; build the optimizer with run.optimizer(model).")
        return self._cell.eps

    @property
    def beta1(self) -> float:
        """The study's β₁."""
        return self._config.optimizer.beta1

    @property
    def beta2(self) -> float:
        """This trial's β₂."""
        if self._cell.beta2 is None:
            raise UserError(f"{self._cell.optimizer} has no beta2; build the optimizer with run.optimizer(model).")
        return self._cell.beta2

    def optimizer(self, model: torch.nn.Module | Iterable[Any], **keywords: Any) -> torch.optim.Optimizer:
        """The study's optimizer with this trial's lr, eps and beta2, over a model or its parameters (or groups).

        `keywords` go to its class; `weight_decay` is the study's unless given here. It is watched already.
        """
        module = model if isinstance(model, torch.nn.Module) else None
        optimizer = create_optimizer(
            self._cell.optimizer,
            model.parameters() if isinstance(model, torch.nn.Module) else model,
            lr=self.lr,
            betas=(self.beta1, self._cell.beta2 or 0.0),
            eps=self._cell.eps,
            **{"weight_decay": self._config.optimizer.weight_decay, **keywords},
        )
        self.watch(optimizer, module)
        return optimizer

    def watch(self, optimizer: torch.optim.Optimizer, model: torch.nn.Module | None = None) -> None:
        """Say which optimizer trains, so that ẑ can be read from it; `model` gives its tensors names.

        Watching one again, as for the names of what `optimizer(groups)` built, replaces what was said before. Of
        several optimizers the last is the one that is watched.

        Raises:
            UserError: while probing or recording, an optimizer whose ẑ epsearch cannot read.
        """
        if self.probing:
            denominator_reader(optimizer)
            # Steps are the probe's batches: one optimizer at a time is counted, and each of its steps once.
            if self._counting is not None:
                self._counting.remove()
            self._counting = unwrapped(optimizer).register_step_post_hook(self._count_step)
        if self._recording:
            # The cell's own lr: by the end of an epoch a schedule may have changed it.
            settings: dict[str, float | int | str | None] = {
                "lr": self.lr,
                "seed": self.seed,
                "device": str(self.device),
            }
            percentiles = self._config.probe.percentiles
            self._recorder = Recorder(
                optimizer, model, percentiles=percentiles, settings=settings, history=self.history
            )
        self._watched = (optimizer, model)

    def epochs(self, default: int = 20) -> Iterator[int]:
        """0, 1, … up to the study's `training.epochs` (`default` where it gives none); the probe's while probing.

        Ends early when the trial is pruned or a reported value is not finite; after `restore()` begins with the epoch
        after the checkpoint, where random numbers (Python's, NumPy's, torch's) go on too.
        """
        if self._kept_random is not None:
            set_random_states(self._kept_random)
        for epoch in range(self.first_epoch, self.planned_epochs(default)):
            if self.ended:
                return
            self._epoch = epoch
            yield epoch

    def planned_epochs(self, default: int = 20) -> int:
        """How many epochs this run trains unless it ends early."""
        return self._config.probe.epochs if self.probing else (self._config.training.epochs or default)

    def report(self, *, checkpoint: Mapping[str, Any] | None = None, **metrics: float) -> None:
        """Tell the metrics of an epoch; the study's metric must be among them.

        A value that is NaN or infinite ends the run; what is reported after its end does not count. `checkpoint` is
        what the loop needs to go on after this epoch, such as the state_dicts of model and optimizer: anything that
        `torch.save` takes. It is kept every `training.checkpoint_every` seconds.

        Raises:
            UserError: the study's metric is not among them; histograms are to be recorded of no optimizer.
        """
        if (name := self.metric) not in metrics:
            given = ", ".join(metrics) or "nothing"
            raise UserError(f'run.report() was given {given}, but the study\'s metric.name is "{name}".')
        if self.ended:
            return
        self._reports += 1
        if not all(math.isfinite(value) for value in metrics.values()):
            self.diverge()
        elif self._recording:
            if self._recorder is None:
                raise _unwatched()
            self._recorder.record(self._reports)
        value = float(metrics[name])
        if math.isfinite(value) and not self.probing and not self._on_report(value):
            self.ended = True
        if checkpoint is not None and self._checkpoint is not None and not self.ended:
            self._checkpoint.save(
                {
                    "state": dict(checkpoint),
                    # A loop that does not go through epochs() reports once for each.
                    "first_epoch": self._reports if self._epoch is None else self._epoch + 1,
                    "reports": self._reports,
                    "history": self.history,
                    "random": random_states(),
                }
            )

    def restore(self) -> dict[str, Any] | None:
        """What this trial last handed to `report` as `checkpoint`, before its process was killed; None at its start.

        What it had reported by then is reported again, and `epochs()` goes on after it. Tensors are on `device`.
        """
        kept = self._checkpoint.take() if self._checkpoint is not None else None
        if kept is None:
            return None
        self.first_epoch, self._reports = kept["first_epoch"], kept["reports"]
        self._kept_random = kept["random"]
        self._kept_history = kept["history"]
        if self._watched is not None:
            self.watch(*self._watched)
        self.ended = not all(self._on_report(value) for value in kept["values"][-1])
        state: dict[str, Any] = kept["state"]
        return state

    def kept_state(self) -> dict[str, Any] | None:
        """What `restore` would give, with nothing reported yet."""
        kept = self._checkpoint.peek() if self._checkpoint is not None else None
        return kept and kept["state"]

    def start_again(self, reason: str) -> None:
        """Delete the checkpoint, which does not fit: this run trains from its first epoch."""
        assert self._checkpoint is not None
        self._checkpoint.discard(reason)

    @property
    def history(self) -> ProbeHistory | None:
        """ẑ after every epoch reported, where it is recorded."""
        return self._recorder.history if self._recorder and self._recorder.recorded else self._kept_history

    def diverge(self) -> None:
        """End this run because its loss is no longer finite."""
        self.ended = self.diverged = True

    def fail(self, error: BaseException) -> None:
        """End this run, and no other, because its code raised `error`; its traceback goes to the worker's log.

        Raises:
            BaseException: the error, where it ends more than this run: a mistake that every trial would meet, a process
                that must not train again, a driver that is gone; and any while probing.
        """
        if self.probing or isinstance(error, UserError | DriverGone) or ends_process(error) is not None:
            raise error
        log(f"--- {self.title}: raised ---")
        log_error(error)
        self.error, self.ended = described(error), True

    def measure(self) -> ProbeResult:
        """ẑ of the watched optimizer, after training.

        Raises:
            UserError: no optimizer was watched.
            StudyError: the probe's loss was not finite.
        """
        if self._watched is None:
            raise _unwatched()
        if self.diverged:
            raise StudyError(
                f"the loss became NaN or infinite while probing at lr {self.lr:g}; set probe.lr lower and run again."
            )
        epochs = self._config.probe.epochs
        optimizer, model = self._watched
        return measure(
            optimizer,
            model,
            percentiles=self._config.probe.percentiles,
            settings={
                "epochs": epochs,
                "steps": self._steps,
                "batches_per_epoch": math.ceil(self._steps / epochs),
                "seed": self.seed,
                "device": str(self.device),
            },
        )

    def _count_step(self, *_: Any) -> None:
        self._steps += 1


def _unwatched() -> UserError:
    return UserError(
        "the train function used no optimizer that epsearch knows of: build it with run.optimizer(model), "
        "or call run.watch(optimizer)."
    )
