"""What a worker does for a study: load its workload, probe, train trials. Every engine calls this."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from epsearch.core.errors import UserError
from epsearch.core.messages import shown
from epsearch.optimizers import default_eps
from epsearch.probing.lr_sweep import LrSweep
from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig
from epsearch.study.schema.base import Bounds
from epsearch.study.space import auto_beta2
from epsearch.training.errors import translated_errors
from epsearch.training.faults import ends_process
from epsearch.training.log import log, log_error
from epsearch.training.loop import train
from epsearch.training.precision import set_precision
from epsearch.training.run import Run
from epsearch.training.seeding import seed_all
from epsearch.training.trial import Trial, describe
from epsearch.training.user_object import load_user_object
from epsearch.workloads import create_workload

PROBE_BETA2 = 0.999
"""β₂ while probing if the study's own cannot be known yet: the usual default."""

Report = Callable[[int, int, float], bool]
"""`report(index of the cell, index of the seed, metric)` returns whether to continue.

Raises DriverGone if the driver no longer listens.
"""


class StudyTasks:
    """A study in one worker process: loads the workload once and uses it for every trial.

    Raises:
        UserError: the device, the user's module or the dataset is missing.
        StudyError: the user's code raised.
        ProcessUnusable: out of memory, or a broken GPU; another process may succeed.
    """

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        with translated_errors():
            self._device = _device(config)
            set_precision(config.training.precision)
            sys.path.insert(0, str(config.folder))
            if config.workload.train is not None:
                self._load_train(config.workload.train)
            else:
                self._load_workload()

    def _load_train(self, path: str) -> None:
        """Use the user's own training function, which trains one run at a time."""
        where = self._config.where("workload.train")
        train_function = load_user_object(path, where)
        if not callable(train_function):
            raise UserError(
                f"{where}: {path} is not a function (got {shown(train_function)}); it is called as train(run)."
            )

        process = os.getpid()

        def train_one(runs: Sequence[Run]) -> None:
            (run,) = runs
            seed_all(run.seed)
            try:
                train_function(run)
            except BaseException as error:
                if os.getpid() != process:
                    log_error(error)
                raise
            finally:
                if os.getpid() != process:
                    # A child forked by the user's code must not go on to train the next trial.
                    os._exit(0)

        self._train: Callable[[Sequence[Run]], None] = train_one
        self._batches: Callable[[], int] | None = None
        self._in_lockstep = False

    def _load_workload(self) -> None:
        """Use epsearch's own loop, which trains the trials of a group in lockstep."""
        config = self._config
        path, where = config.workload.object, config.where("workload.object")
        make = load_user_object(path, where) if path else None
        workload = create_workload(config, self._device, make)
        self._train = lambda runs: train(workload, config, runs)
        accumulate = config.training.accumulate
        self._batches = lambda: math.ceil(sum(1 for _ in workload.train_batches(0)) / accumulate)
        self._in_lockstep = True

    def batches_per_epoch(self) -> int:
        """Count the optimizer steps of a training epoch; for the β₂ rule if there is no probe to count them.

        Raises:
            UserError, StudyError, ProcessUnusable: as in `probe`.
        """
        assert self._batches is not None, "the study file's check asks for a number here"
        with translated_errors():
            return self._batches()

    def probe(self) -> ProbeResult:
        """Train one run for the probe's epochs and read ẑ.

        Raises:
            UserError, StudyError: nothing could be measured, or the user's code raised.
            ProcessUnusable: out of memory, or a broken GPU.
        """
        name, settings = self._config.optimizer.name, self._config.probe
        with translated_errors():
            cell = Cell(
                optimizer=name,
                lr=settings.lr,
                eps=default_eps(name) if settings.eps is None else settings.eps,
                beta2=self._probe_beta2() if self._config.has_beta2 else None,
            )
            run = Run(self._config, cell, self._config.training.seeds[0], self._device, probing=True)
            log(f"--- probe: {describe(cell)}, seed {run.seed} ---")
            self._train([run])
            return run.measure()

    def lr_test(self, eps: float, beta2: float | None = None) -> LrTest:
        """Train a few steps at `eps` while lr rises, and read from the losses which lr to try.

        `beta2` defaults to the probe's, for which the batches of an epoch may have to be counted.

        Raises:
            UserError: the training function watches no optimizer, or calls no `backward`.
            StudyError: the user's code raised, or the first loss was not finite.
            ProcessUnusable: out of memory, or a broken GPU.
        """
        config = self._config
        with translated_errors():
            if config.has_beta2 and beta2 is None:
                beta2 = self._probe_beta2()
            cell = Cell(optimizer=config.optimizer.name, lr=config.probe.lr, eps=eps, beta2=beta2)
            sweep = LrSweep()
            run = Run(config, cell, config.training.seeds[0], self._device, lr_sweep=sweep)
            log(f"--- learning-rate test: {describe(cell)}, seed {run.seed} ---")
            with sweep:
                try:
                    self._train([run])
                except Exception as error:
                    # Some losses reject NaN.
                    if not sweep.late or isinstance(error, UserError) or ends_process(error) is not None:
                        raise
                    log_error(error)
            return run.lr_test()

    def call(self, task: str, *arguments: Any) -> Any:
        """Run a task that comes before the trials by its name."""
        tasks: dict[str, Callable[..., Any]] = {
            "probe": self.probe,
            "batches": self.batches_per_epoch,
            "lr_test": self.lr_test,
        }
        return tasks[task](*arguments)

    def _probe_beta2(self) -> float:
        """The trials' β₂, the largest if there are several: if ε is accumulated, ẑ is proportional to 1 - β₂."""
        beta2 = self._config.search.beta2
        if beta2 == "auto":
            return auto_beta2(self._batches(), self._config.optimizer.beta1) if self._batches else PROBE_BETA2
        if isinstance(beta2, Bounds):
            return beta2.high
        return max(beta2) if isinstance(beta2, list) else float(beta2)

    def trials(
        self,
        cells: Sequence[Cell],
        report: Report,
        checkpoints: Sequence[Path | None] | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Ending]:
        """Train every cell with every seed; `report` receives each epoch's metric.

        Each cell resumes from its file in `checkpoints`, and saves its own checkpoints there. `numbers` are the
        trials' numbers, for the log. Code that raises ends only its own trial. In epsearch's own loop, where trials
        share batches, a workload that raises while making a batch ends all trials that are still running.

        Raises:
            UserError: a mistake that every trial would meet, such as a metric that is not reported.
            ProcessUnusable: out of memory, or a broken GPU; carries the endings of the finished trials.
        """
        trials: list[Trial] = []

        def endings() -> list[Ending | None]:
            return [trial.ending for trial in trials] + [None] * (len(cells) - len(trials))

        def member(index: int) -> Trial:
            path, number = checkpoints[index] if checkpoints else None, numbers[index] if numbers else None
            return Trial(self._config, cells[index], self._device, partial(report, index), path, number)

        each = range(len(cells))
        with translated_errors(endings):
            for group in [each] if self._in_lockstep else [[index] for index in each]:
                members = [member(index) for index in group]
                trials += members
                self._train_group(members)
        return [ending for ending in endings() if ending is not None]

    def _train_group(self, members: Sequence[Trial]) -> None:
        """Train every seed of these trials until all have ended."""
        seeds = self._config.training.seeds
        for seed_index, seed in enumerate(seeds):
            runs = {member: run for member in members if (run := member.begin(seed_index, seed)) is not None}
            over = False
            try:
                if runs:
                    self._train(list(runs.values()))
                over = True
            except BaseException as error:
                for run in runs.values():
                    # In epsearch's loop an ended run has its result; a user's own loop may still fail after it ended.
                    if not (run.ended and self._in_lockstep):
                        run.fail(error)
                over = True
            finally:
                # If the process ends here, runs that ended before still get their result.
                for member, run in runs.items():
                    if over or run.ended:
                        member.conclude(run, last=seed_index == len(seeds) - 1)


def _device(config: StudyConfig) -> torch.device:
    name = config.training.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{config.where('training.device')}: {name} is not available: torch sees {torch.cuda.device_count()} GPUs. "
            "Use auto or cpu."
        )
    return device
