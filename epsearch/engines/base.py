"""The interface of an engine, which runs a study's tasks and trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object, not_imported
from epsearch.records.listener import Listener
from epsearch.registry.engines import ENGINES
from epsearch.study.config import StudyConfig

if TYPE_CHECKING:
    from epsearch.search.study import SharedStudy


Task = Literal["probe", "batches", "lr_test"]

Steps = Callable[[int], None]
"""Receives how many steps the optimizer has taken, several times a second."""


class Engine(Protocol):
    """Runs a study's work. Starts its processes on first use, and ends them on exit."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def call(self, task: Task, *arguments: Any, steps: Steps | None = None) -> Any:
        """Run a task that comes before the trials, where the trials will run: `StudyTasks.call`.

        `steps` follows its training, if the engine can tell.

        Raises:
            UserError, StudyError: raised by the task.
        """

    def search(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        """Run every trial that the studies have left.

        Raises:
            StudyError: the first trials all failed; the next run retries them.
            optuna.exceptions.StorageInternalError: the storage could not be written.
        """


def open_engine(config: StudyConfig, logs: Path) -> Engine:
    """Create the engine that the study names; its workers' output goes to files in `logs`.

    Raises:
        UserError: a required package is not installed, or cannot be imported.
    """
    name = config.engine.name
    try:
        engine: Engine = load_object(ENGINES[name].path)(config, logs)
    except ImportError as error:
        raise UserError(f"{config.where('engine.name')}: {name} {not_imported(error, name)}") from error
    return engine
