"""What a worker does for a study: load its workload, probe, train trials. The engines carry it out."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from epsearch.core.errors import DriverGone, ProcessUnusable, StudyError, UserError
from epsearch.core.imports import load_object, raised
from epsearch.core.messages import shown, suggestion
from epsearch.core.numbers import label
from epsearch.optimizers import default_eps
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig
from epsearch.study.schema.base import Bounds
from epsearch.study.space import auto_beta2
from epsearch.training.checkpoint import TrialCheckpoint
from epsearch.training.faults import ends_process
from epsearch.training.log import log, log_error, quoted
from epsearch.training.loop import train
from epsearch.training.precision import set_precision
from epsearch.training.run import Run
from epsearch.training.seeding import seed_all
from epsearch.workloads import create_workload

PROBE_BETA2 = 0.999
"""β₂ while probing where the study's own cannot be known yet: the field's default."""

Report = Callable[[int, int, float], bool]
"""`report(index of the cell, index of the seed, metric) -> whether to go on`; DriverGone where nobody listens."""


class StudyTasks:
    """A study as one process sees it: its workload is loaded once and serves every trial.

    Raises:
        UserError: the device, the user's module or the dataset is not there.
        StudyError: the user's code raised.
        ProcessUnusable: out of memory, or a broken GPU; another process may have more luck.
    """

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        with _SortedErrors():
            self._device = _device(config)
            set_precision(config.training.precision)
            sys.path.insert(0, str(config.folder))
            if config.workload.train is not None:
                self._load_train(config.workload.train)
            else:
                self._load_workload()

    def _load_train(self, path: str) -> None:
        """A user's own loop, which trains one run at a time."""
        where = self._config.where("workload.train")
        train_function = load_user_object(path, where)
        if not callable(train_function):
            raise UserError(f"{where}: {path} is no function but {shown(train_function)}; it is called as train(run).")

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
                    # A child that the user's code forked must not train what comes next, however it ends.
                    os._exit(0)

        self._train: Callable[[Sequence[Run]], None] = train_one
        self._batches: Callable[[], int] | None = None
        self._in_lockstep = False

    def _load_workload(self) -> None:
        """A workload for our loop, which trains the trials of a group in lockstep."""
        config = self._config
        path, where = config.workload.object, config.where("workload.object")
        make = load_user_object(path, where) if path else None
        workload = create_workload(config, self._device, make)
        self._train = lambda runs: train(workload, config, runs)
        accumulate = config.training.accumulate
        self._batches = lambda: math.ceil(sum(1 for _ in workload.train_batches(0)) / accumulate)
        self._in_lockstep = True

    def batches_per_epoch(self) -> int:
        """Steps of the optimizer in a training epoch, counted; for the β₂ rule where no probe counts them.

        Raises:
            UserError, StudyError, ProcessUnusable: as `probe`.
        """
        assert self._batches is not None, "the study file's check asks for a number here"
        with _SortedErrors():
            return self._batches()

    def probe(self) -> ProbeResult:
        """Train one run for the probe's epochs and read ẑ.

        Raises:
            UserError, StudyError: nothing could be measured, or the user's code raised; the message says why.
            ProcessUnusable: out of memory, or a broken GPU.
        """
        name, settings = self._config.optimizer.name, self._config.probe
        with _SortedErrors():
            cell = Cell(
                optimizer=name,
                lr=settings.lr,
                eps=default_eps(name) if settings.eps is None else settings.eps,
                beta2=self._probe_beta2() if self._config.has_beta2 else None,
            )
            run = Run(self._config, cell, self._config.training.seeds[0], self._device, probing=True)
            log(f"--- probe: {_words(cell)}, seed {run.seed} ---")
            self._train([run])
            return run.measure()

    def _probe_beta2(self) -> float:
        """The β₂ of the trials, the largest of several: where ε is accumulated, ẑ is in proportion to 1 - β₂."""
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
        """Train every cell with every seed; `report` is told each epoch's metric.

        A cell goes on from what its file of `checkpoints` holds, and keeps its own there. `numbers` are the trials',
        for the log. Code that raises ends its trial alone; in our own loop, where trials share batches, a workload
        that raises between them ends all that are not over.

        Raises:
            UserError: a mistake such as a metric that is not reported, which every trial would meet.
            ProcessUnusable: out of memory, or a broken GPU; with the endings of those that are over.
        """
        trials: list[_Trial] = []

        def endings() -> list[Ending | None]:
            return [trial.ending for trial in trials] + [None] * (len(cells) - len(trials))

        def member(index: int) -> _Trial:
            path, number = checkpoints[index] if checkpoints else None, numbers[index] if numbers else None
            return _Trial(self._config, cells[index], self._device, partial(report, index), path, number)

        each = range(len(cells))
        with _SortedErrors(endings):
            for group in [each] if self._in_lockstep else [[index] for index in each]:
                members = [member(index) for index in group]
                trials += members
                self._train_group(members)
        return [ending for ending in endings() if ending is not None]

    def _train_group(self, members: Sequence[_Trial]) -> None:
        """Every seed of the trials, to their endings."""
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
                    # In our loop what ended before has its result; a user's own loop is not over before it returns.
                    if not (run.ended and self._in_lockstep):
                        run.fail(error)
                over = True
            finally:
                # Where the process ends, what ended before has its result too.
                for member, run in runs.items():
                    if over or run.ended:
                        member.conclude(run, last=seed_index == len(seeds) - 1)


class _Trial:
    """A cell over its seeds."""

    def __init__(
        self,
        config: StudyConfig,
        cell: Cell,
        device: torch.device,
        report: Callable[[int, float], bool],
        path: Path | None,
        number: int | None,
    ) -> None:
        self._config, self._cell, self._device, self._report = config, cell, device, report
        self._title = "trial" if number is None else f"trial {number}"
        self._checkpoint = TrialCheckpoint(path, config.training.checkpoint_every, device)
        self.ending: Ending | None = None
        """How it ended; None until then."""

    def begin(self, seed_index: int, seed: int) -> Run | None:
        """The run of this seed; None where the trial is over, or the seed was before its checkpoint."""
        if self.ending is not None:
            return None
        values: list[float] = []
        self._checkpoint.values.append(values)

        def on_report(value: float) -> bool:
            values.append(value)
            return self._report(seed_index, value)

        kept = self._checkpoint.kept_values
        if seed_index < len(kept) - 1:
            self._checkpoint.history = self._checkpoint.kept_history
            if not all(on_report(value) for value in kept[seed_index]):
                self._end("pruned")
            return None
        log(f"--- {self._title}: {_words(self._cell)}, seed {seed} ---")
        recording = self._config.training.record_histograms and seed_index == 0
        return Run(
            self._config,
            self._cell,
            seed,
            self._device,
            recording=recording,
            on_report=on_report,
            checkpoint=self._checkpoint,
            title=self._title,
        )

    def conclude(self, run: Run, *, last: bool) -> None:
        """Take in how a seed's run ended."""
        self._checkpoint.history = self._checkpoint.history or run.history
        if run.error is not None:
            self._end("raised", run.error)
        elif not self._checkpoint.values[-1]:
            # Diverged before its first finite value: nothing another seed adds could make up for it.
            if run.diverged:
                self._end("diverged")
            else:
                self._end("raised", "the train function never called run.report()")
        elif run.ended and not run.diverged:
            self._end("pruned")
        elif last:
            self._end("finished")

    def _end(self, kind: Literal["finished", "pruned", "diverged", "raised"], error: str | None = None) -> None:
        self.ending = Ending(kind=kind, error=error, history=self._checkpoint.history)


class _SortedErrors:
    """Whatever is raised within becomes one of the errors that an engine knows; tracebacks go to the log.

    Errors of the user's code must not reach the engine as they are: an EOFError would pass for a closed pipe, a
    SystemExit would end the process without a word. Not a generator, through which no StopIteration can pass.
    """

    def __init__(self, endings: Callable[[], Sequence[Ending | None]] = tuple) -> None:
        self._endings = endings

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None or isinstance(error, DriverGone):
            return
        if (reason := ends_process(error)) is not None:
            log_error(error)
            raise ProcessUnusable(reason, self._endings()) from error
        if not isinstance(error, UserError | StudyError):
            log_error(error)
            raise StudyError(quoted(error)) from error


def _words(cell: Cell) -> str:
    """`adam, lr 1e-3, eps 1e-8, beta2 0.999`."""
    values = {"lr": cell.lr, "eps": cell.eps, "beta2": cell.beta2}
    return ", ".join(
        [cell.optimizer, *(f"{name} {label(name, value)}" for name, value in values.items() if value is not None)]
    )


def _device(config: StudyConfig) -> torch.device:
    name = config.training.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{config.where('training.device')}: {name} is not there: torch sees {torch.cuda.device_count()} GPUs. "
            "Write auto or cpu."
        )
    return device


def load_user_object(path: str, where: str) -> Any:
    """What `module:name` names, which stands in the study file `where` says.

    Raises:
        UserError: the module is not found or raises while importing, or has no such name.
    """
    module, _, name = path.partition(":")
    try:
        return load_object(path)
    except (Exception, SystemExit) as error:
        if isinstance(error, StudyError | UserError):
            raise
        loaded = sys.modules.get(module)
        if isinstance(error, AttributeError) and loaded is not None and not hasattr(loaded, name.split(".")[0]):
            public = [attribute for attribute in vars(loaded) if not attribute.startswith("_")]
            raise UserError(f'{where}: {module} has no "{name}". {suggestion(name, public)}') from error
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise UserError(
                f"{where}: there is no module {error.name}. It is looked for beside the study file ({sys.path[0]}) "
                "and among the installed packages."
            ) from error
        raise UserError(f"{where}: importing {module} {raised(error)}.") from error
