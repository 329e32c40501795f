"""The inline engine: trials run in the driver's own process, one after another.

It is for debugging: no subprocess and no pipe, so a breakpoint in the user's code works and Ctrl-C reaches it.
"""

from __future__ import annotations

import bdb
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from epsearch.core.environment import no_storage_variable
from epsearch.core.errors import ProcessUnusable, StudyError
from epsearch.engines.base import Steps, Task
from epsearch.engines.dispatcher import Assignment, Dispatcher
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.logs import Logs
from epsearch.records.listener import Listener
from epsearch.records.trial import Ending
from epsearch.search.study import SharedStudy
from epsearch.study.config import StudyConfig

if TYPE_CHECKING:
    from epsearch.training.tasks import StudyTasks

LOG = "inline"

QUITS = (KeyboardInterrupt, bdb.BdbQuit)
"""Raised in the user's code, these stop the study: Ctrl-C, and `q` in the debugger."""

T = TypeVar("T")


class InlineEngine:
    """Trials in this process, which then loads torch and the user's code."""

    def __init__(self, config: StudyConfig, logs: Path) -> None:
        self._config, self._logs = config, Logs(logs)
        self._stack = contextlib.ExitStack()
        self._tasks: StudyTasks | None = None
        self._process = os.getpid()

    def __enter__(self) -> InlineEngine:
        self._stack.enter_context(_restored(self._config.folder))
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def call(self, task: Task, *arguments: Any, steps: Steps | None = None) -> Any:
        """Run a task that comes before the trials."""
        try:
            tasks = self._load()
            return self._run(lambda: tasks.call(task, *arguments))
        except ProcessUnusable as error:
            raise _unusable(error) from error

    def search(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        """Run every trial that the studies have left.

        Raises:
            StudyError: the first trials all failed, or this process cannot train any more.
        """
        dispatcher = Dispatcher(studies, listener)
        assignments: list[Assignment] = []
        try:
            with Interrupts() as interrupts:
                while dispatcher.left:
                    with interrupts.point():
                        tasks = self._load()
                    while len(assignments) < self._config.engine.together and (next_one := dispatcher.ask()):
                        assignments.append(next_one)
                    if assignments:
                        self._train(tasks, dispatcher, assignments, interrupts)
        except BaseException:
            # Best effort: mark running trials as lost.
            with contextlib.suppress(Exception):
                for study, active in assignments:
                    study.tell(active, Ending(kind="lost"))
            raise

    def _train(
        self, tasks: StudyTasks, dispatcher: Dispatcher, assignments: list[Assignment], interrupts: Interrupts
    ) -> None:
        """Train trials together and record their results, which empties `assignments`."""
        actives = [active for _, active in assignments]

        def report(index: int, seed_index: int, value: float) -> bool:
            if os.getpid() != self._process:
                os._exit(0)  # a child that the user's code forked must not write to the storage
            with interrupts.held():
                return dispatcher.report(assignments[index], seed_index, value)

        def train() -> list[Ending]:
            return tasks.trials(
                [active.cell for active in actives],
                report,
                [active.checkpoint for active in actives],
                numbers=[active.number for active in actives],
            )

        unusable = None
        endings: Sequence[Ending | None]
        try:
            with interrupts.point():
                endings = self._run(train)
        except ProcessUnusable as error:
            unusable, endings = error, error.endings
        for kind in QUITS:
            if any(ending and (ending.error or "").partition(":")[0] == kind.__name__ for ending in endings):
                raise KeyboardInterrupt
        if interrupts.raised is not None:  # and caught by the user's code
            raise interrupts.raised
        failure = _unusable(unusable) if unusable else None
        for ending in endings:
            try:
                dispatcher.tell(assignments.pop(0), ending or Ending(kind="died", error=str(unusable)))
            except StudyError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _load(self) -> StudyTasks:
        if self._tasks is None:
            from epsearch.training.process import prepare_process

            prepare_process(self._config.training.threads)
            from epsearch.training.tasks import StudyTasks

            self._tasks = self._run(lambda: StudyTasks(self._config.without_storage()))
        return self._tasks

    def _run(self, work: Callable[[], T]) -> T:
        """Run the user's code: its log goes to a file, and the storage's password stays out of its environment."""
        from epsearch.training.log import log_to

        try:
            with log_to(lambda text: self._logs.write(LOG, text)), no_storage_variable():
                return work()
        except StudyError as error:
            if isinstance(error.__cause__, QUITS):
                raise KeyboardInterrupt from error
            raise


def _unusable(error: ProcessUnusable) -> StudyError:
    return StudyError(
        f"{error}. The inline engine trains in this process, which cannot continue. Finished trials are saved; rerun "
        "the same command to resume, or add --set engine.name=optuna."
    )


@contextmanager
def _restored(folder: Path) -> Iterator[None]:
    """At the end, forget the modules loaded from `folder`, so that another study in this process loads its own."""
    path, before, threads = list(sys.path), set(sys.modules), os.environ.get("OMP_NUM_THREADS")
    try:
        yield
    finally:
        sys.path[:] = path
        if threads is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = threads
        for name in sys.modules.keys() - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).resolve().is_relative_to(folder.resolve()) and not name.startswith("epsearch"):
                del sys.modules[name]
