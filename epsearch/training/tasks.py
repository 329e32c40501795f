"""What a worker does for a study: load its workload, probe, train trials. The engines carry it out."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch

from epsearch.config import Bounds, StudyConfig
from epsearch.errors import StudyError, UserError
from epsearch.loading import load_object, raised
from epsearch.optimizers import default_eps
from epsearch.records import Cell, Ending, ProbeHistory, ProbeResult
from epsearch.space import auto_beta2
from epsearch.training.loop import train
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
        torch.set_default_dtype(getattr(torch, config.training.precision))
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
            self._batches = lambda: sum(1 for _ in workload.train_batches(0))

    def batches_per_epoch(self) -> int:
        """Batches of a training epoch, counted; for the β₂ rule where no probe counts them."""
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

    def trials(self, cells: Sequence[Cell], report: Report) -> list[Ending]:
        """Train every cell with every seed; `report` is told each epoch's metric."""
        endings: list[Ending | None] = [None] * len(cells)
        histories: list[ProbeHistory | None] = [None] * len(cells)
        for seed_index, seed in enumerate(self._config.training.seeds):
            members = {
                index: _trial_run(self._config, cells[index], seed, self._device, index, seed_index, report)
                for index, ending in enumerate(endings)
                if ending is None
            }
            if not members:
                break
            try:
                self._train([run for run, _ in members.values()])
            except UserError:
                # A mistake such as a metric that is not reported, which every trial would meet.
                raise
            except Exception as error:
                # To the worker's log; the study's own messages need one line.
                traceback.print_exc()
                for index in members:
                    endings[index] = Ending(kind="raised", error=f"{type(error).__name__}: {error}")
                break
            for index, (run, finite) in members.items():
                histories[index] = histories[index] or run.history
                # Diverged before its first finite value: nothing this seed adds could make up for it.
                if not finite:
                    endings[index] = (
                        Ending(kind="diverged")
                        if run.diverged
                        else Ending(kind="raised", error="the train function never called run.report()")
                    )
                elif run.ended and not run.diverged:
                    endings[index] = Ending(kind="pruned")
        finished = Ending(kind="finished")
        return [
            (ending or finished).model_copy(update={"history": history})
            for ending, history in zip(endings, histories, strict=True)
        ]


def _trial_run(
    config: StudyConfig,
    cell: Cell,
    seed: int,
    device: torch.device,
    index: int,
    seed_index: int,
    report: Report,
) -> tuple[Run, list[float]]:
    """A run that passes its values on, and the list that collects them."""
    values: list[float] = []

    def on_report(value: float) -> bool:
        values.append(value)
        return report(index, seed_index, value)

    recording = config.training.record_histograms and seed_index == 0
    return Run(config, cell, seed, device, recording=recording, on_report=on_report), values


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
