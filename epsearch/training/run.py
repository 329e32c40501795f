"""The handle passed to training code: the `run` of a user's `train(run)`, and of epsearch's own loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from epsearch.core.errors import DriverGone, StudyError, UserError
from epsearch.optimizers import create_optimizer
from epsearch.probing.lr_sweep import LrSweep
from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeHistory, ProbeResult
from epsearch.records.trial import Cell
from epsearch.study.config import StudyConfig
from epsearch.training.checkpoint import TrialCheckpoint
from epsearch.training.faults import ends_process
from epsearch.training.log import described, log, log_error
from epsearch.training.seeding import random_states, set_random_states
from epsearch.training.watched import WatchedOptimizer


class Run:
    """One training run of a cell with one seed: the probe or learning-rate test (`probing`), or part of a trial.

    A custom training loop

    1. builds its optimizer with `optimizer(model)`, or builds its own from `lr`, `eps`, `beta1` and `beta2` and
       passes it to `watch`;
    2. iterates over `epochs()`;
    3. calls `report(metric=value)` at the end of each epoch.

    The same function then serves for the probe, the learning-rate test and every trial. To resume after a killed
    process or a lost machine, pass a `checkpoint` to `report` and start from `restore()`.
    """

    def __init__(
        self,
        config: StudyConfig,
        cell: Cell,
        seed: int,
        device: torch.device,
        *,
        probing: bool = False,
        lr_sweep: LrSweep | None = None,
        recording: bool = False,
        on_report: Callable[[float], bool] = lambda _: True,
        checkpoint: TrialCheckpoint | None = None,
        title: str = "run",
    ) -> None:
        self._config, self._cell, self._on_report = config, cell, on_report
        self._watched = WatchedOptimizer(
            config,
            cell.lr,
            {"seed": seed, "device": str(device)},
            probing=probing,
            # A baseline has no ẑ.
            recording=recording and cell.eps is not None,
        )
        self._lr_sweep = lr_sweep
        self._checkpoint = checkpoint
        self._kept_random: dict[str, Any] | None = None
        self.first_epoch = 0
        """The epoch to start with: 0, or the one after the restored checkpoint."""
        self.seed = seed
        """The seed of this run."""
        self.device = device
        """The device to train on."""
        self.probing = probing or lr_sweep is not None
        """Whether this run is the probe or the learning-rate test: its reports do not count."""
        self.ended = False
        """Whether this run ended before its last epoch: pruned, diverged, or raised."""
        self.diverged = False
        """Whether a loss or metric became NaN or infinite."""
        self.error: str | None = None
        """The exception that ended this run, in one line."""
        self.title = title
        """The name of this run in the worker's log."""
        self._reports = 0
        self._epoch: int | None = None

    @property
    def metric(self) -> str:
        """The name of the study's metric, which must be passed to `report`."""
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
        """Build the study's optimizer with this trial's lr, eps and beta2, and watch it.

        `model` is a module, or its parameters or parameter groups. `keywords` are passed to the optimizer's class;
        `weight_decay` defaults to the study's.
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
        """Set the optimizer from which epsearch reads ẑ; `model` provides names for its tensors.

        A later call replaces an earlier one, for example to add names after `optimizer(groups)`. If training uses
        several optimizers, ẑ is read from the one watched last.

        Raises:
            UserError: while probing or recording, epsearch cannot read this optimizer's ẑ.
        """
        self._watched.watch(optimizer, model)
        if self._lr_sweep is not None:
            self._lr_sweep.attach(optimizer, self.lr)

    def epochs(self, default: int = 20) -> Iterator[int]:
        """Iterate over epochs 0, 1, … up to the study's `training.epochs`, or the probe's epochs while probing. A
        learning-rate test has as many epochs as steps, and ends inside one of them.

        `default` applies if the study gives no number of epochs. The iteration stops early if the trial is pruned or a
        reported value is not finite. After `restore()` it starts with the epoch after the checkpoint, and Python's,
        NumPy's and torch's random numbers continue from there.
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
        if self._lr_sweep is not None:
            return self._lr_sweep.steps
        return self._config.probe.epochs if self.probing else (self._config.training.epochs or default)

    def report(self, *, checkpoint: Mapping[str, Any] | None = None, **metrics: float) -> None:
        """Report the metrics of an epoch, the study's metric among them.

        A value that is NaN or infinite ends the run; reports after the end are ignored. `checkpoint` holds whatever
        the loop needs to resume after this epoch, such as the state_dicts of model and optimizer: anything that
        `torch.save` accepts. It is saved every `training.checkpoint_every` seconds.

        Raises:
            UserError: the study's metric is missing, or histograms are to be recorded but no optimizer is watched.
        """
        if (name := self.metric) not in metrics:
            given = ", ".join(metrics) or "nothing"
            raise UserError(f'run.report() was given {given}, but the study\'s metric.name is "{name}".')
        if self.ended or self._lr_sweep is not None:
            return
        self._reports += 1
        if all(math.isfinite(value) for value in metrics.values()):
            self._watched.record(self._reports)
        else:
            self.diverge()
        value = float(metrics[name])
        if math.isfinite(value) and not self.probing and not self._on_report(value):
            self.ended = True
        if checkpoint is not None and self._checkpoint is not None and not self.ended:
            self._checkpoint.save(
                {
                    "state": dict(checkpoint),
                    # A loop that does not use epochs() reports once per epoch.
                    "first_epoch": self._reports if self._epoch is None else self._epoch + 1,
                    "reports": self._reports,
                    "history": self.history,
                    "random": random_states(),
                }
            )

    def restore(self) -> dict[str, Any] | None:
        """Return the last saved `checkpoint` of this trial; None if there is none.

        Values reported before the checkpoint are reported again, and `epochs()` continues after it. Tensors are on
        `device`.
        """
        kept = self._checkpoint.take() if self._checkpoint is not None else None
        if kept is None:
            return None
        self.first_epoch, self._reports = kept["first_epoch"], kept["reports"]
        self._kept_random = kept["random"]
        self._watched.resume(kept["history"])
        self.ended = not all(self._on_report(value) for value in kept["values"][-1])
        state: dict[str, Any] = kept["state"]
        return state

    def kept_state(self) -> dict[str, Any] | None:
        """The state that `restore` would return; reports nothing."""
        kept = self._checkpoint.peek() if self._checkpoint is not None else None
        return kept and kept["state"]

    def start_again(self, reason: str) -> None:
        """Delete a checkpoint that does not fit and train from the first epoch."""
        assert self._checkpoint is not None
        self._checkpoint.discard(reason)

    @property
    def history(self) -> ProbeHistory | None:
        """ẑ after every reported epoch; None if it is not recorded."""
        return self._watched.history

    def diverge(self) -> None:
        """End this run because its loss is no longer finite."""
        self.ended = self.diverged = True

    def fail(self, error: BaseException) -> None:
        """End only this run because its code raised `error`, and write the traceback to the worker's log.

        Raises:
            BaseException: `error` itself, if it affects more than this run: a mistake that every trial would meet, a
                process that must not train again, or a driver that is gone; any error while probing.
        """
        if self.probing or isinstance(error, UserError | DriverGone) or ends_process(error) is not None:
            raise error
        log(f"--- {self.title}: raised ---")
        log_error(error)
        self.error, self.ended = described(error), True

    def measure(self) -> ProbeResult:
        """Measure ẑ of the watched optimizer after training.

        Raises:
            UserError: no optimizer is watched.
            StudyError: the probe's loss was not finite.
        """
        self._watched.require()
        if self.diverged:
            raise StudyError(
                f"the loss became NaN or infinite while probing at lr {self.lr:g}; lower probe.lr and run again."
            )
        return self._watched.measure()

    def lr_test(self) -> LrTest:
        """The learning-rate test after training.

        Raises:
            UserError: no optimizer is watched, or none of its steps or losses was seen.
            StudyError: the first loss was not finite.
        """
        self._watched.require()
        assert self._lr_sweep is not None, "a run of the test"
        return self._lr_sweep.result(beta2=self._cell.beta2, seed=self.seed, device=str(self.device))
