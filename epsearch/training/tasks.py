"""What a worker does for a study: load its workload, probe, train trials. The engines carry it out."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from epsearch.config import Bounds, StudyConfig
from epsearch.errors import StudyError, UserError
from epsearch.loading import load_object, raised
from epsearch.optimizers import default_eps
from epsearch.records import Cell, Ending, ProbeResult
from epsearch.space import auto_beta2
from epsearch.training.checkpoint import TrialCheckpoint
from epsearch.training.loop import train
from epsearch.training.precision import set_precision
from epsearch.training.run import Run
from epsearch.training.seeding import seed_all
from epsearch.wording import shown, suggestion
from epsearch.workloads import create_workload

PROBE_BETA2 = 0.999
"""β₂ while probing where the study's own cannot be known yet: the field's default."""

Report = Callable[[int, int, float], bool]
"""`report(index of the cell, index of the seed, metric) -> whether to go on`."""


class StudyTasks:
    """A study as one process sees it: its workload is loaded once and serves every trial.

    Raises:
        UserError: the device, the user's module or the dataset is not there.
    """

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._device = _device(config)
        set_precision(config.training.precision)
        sys.path.insert(0, str(config.folder))
        if config.workload.train is not None:
            where = config.where("workload.train")
            train_function = load_user_object(config.workload.train, where)
            if not callable(train_function):
                raise UserError(
                    f"{where}: {config.workload.train} is no function but {shown(train_function)}; "
                    "it is called as train(run)."
                )
            self._train: Callable[[Sequence[Run]], None] = lambda runs: _each(train_function, runs)
            self._batches: Callable[[], int] | None = None
        else:
            path, where = config.workload.object, config.where("workload.object")
            make = load_user_object(path, where) if path else None
            workload = create_workload(config, self._device, make)
            self._train = lambda runs: train(workload, config, runs)
            accumulate = config.training.accumulate
            self._batches = lambda: math.ceil(sum(1 for _ in workload.train_batches(0)) / accumulate)

    def batches_per_epoch(self) -> int:
        """Steps of the optimizer in a training epoch, counted; for the β₂ rule where no probe counts them."""
        assert self._batches is not None, "the study file's check asks for a number here"
        return self._batches()

    def probe(self) -> ProbeResult:
        """Train one run for the probe's epochs and read ẑ.

        Raises:
            UserError, StudyError: nothing could be measured; the message says why. What the user's code raises.
        """
        name, settings = self._config.optimizer.name, self._config.probe
        cell = Cell(
            optimizer=name,
            lr=settings.lr,
            eps=default_eps(name) if settings.eps is None else settings.eps,
            beta2=self._probe_beta2() if self._config.has_beta2 else None,
        )
        run = Run(self._config, cell, self._config.training.seeds[0], self._device, probing=True)
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
        self, cells: Sequence[Cell], report: Report, checkpoints: Sequence[Path | None] | None = None
    ) -> list[Ending]:
        """Train every cell with every seed; `report` is told each epoch's metric.

        A cell goes on from what its file of `checkpoints` holds, and keeps its own there.
        """
        members = [
            _Trial(self._config, cell, self._device, partial(report, index), path)
            for index, (cell, path) in enumerate(zip(cells, checkpoints or [None] * len(cells), strict=True))
        ]
        for seed_index, seed in enumerate(self._config.training.seeds):
            runs = {member: run for member in members if (run := member.begin(seed_index, seed)) is not None}
            if not runs:
                continue
            try:
                self._train(list(runs.values()))
            except UserError:
                # A mistake such as a metric that is not reported, which every trial would meet.
                raise
            except Exception as error:
                # To the worker's log; the study's own messages need one line.
                traceback.print_exc()
                for member in runs:
                    member.ending = Ending(kind="raised", error=f"{type(error).__name__}: {error}")
                break
            for member, run in runs.items():
                member.conclude(run)
        return [member.outcome for member in members]


class _Trial:
    """A cell over its seeds."""

    def __init__(
        self,
        config: StudyConfig,
        cell: Cell,
        device: torch.device,
        report: Callable[[int, float], bool],
        path: Path | None,
    ) -> None:
        self._config, self._cell, self._device, self._report = config, cell, device, report
        self._checkpoint = TrialCheckpoint(path, config.training.checkpoint_every, device)
        self.ending: Ending | None = None

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
                self.ending = Ending(kind="pruned")
            return None
        recording = self._config.training.record_histograms and seed_index == 0
        return Run(
            self._config,
            self._cell,
            seed,
            self._device,
            recording=recording,
            on_report=on_report,
            checkpoint=self._checkpoint,
        )

    def conclude(self, run: Run) -> None:
        """Take in how a seed's run ended."""
        self._checkpoint.history = self._checkpoint.history or run.history
        if not self._checkpoint.values[-1]:
            # Diverged before its first finite value: nothing another seed adds could make up for it.
            self.ending = (
                Ending(kind="diverged")
                if run.diverged
                else Ending(kind="raised", error="the train function never called run.report()")
            )
        elif run.ended and not run.diverged:
            self.ending = Ending(kind="pruned")

    @property
    def outcome(self) -> Ending:
        """How the trial ended, once every seed had its turn."""
        return (self.ending or Ending(kind="finished")).model_copy(update={"history": self._checkpoint.history})


def _each(train_function: Callable[[Run], Any], runs: Sequence[Run]) -> None:
    """A user's own loop trains one run at a time."""
    for run in runs:
        seed_all(run.seed)
        train_function(run)


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
