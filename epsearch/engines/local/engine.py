"""The Optuna engine: asks the study for trials, trains them in local worker processes, and tells the results."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from epsearch.core.errors import StudyError
from epsearch.core.numbers import count
from epsearch.engines.base import Steps, Task
from epsearch.engines.dispatcher import HOPELESS, Assignment, Dispatcher
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.local.pool import Pool, Worker, WorkerDied, wait
from epsearch.records.listener import Listener
from epsearch.records.trial import Ending
from epsearch.search.active_trial import ActiveTrial
from epsearch.search.study import SharedStudy
from epsearch.study.config import StudyConfig


def search(studies: Sequence[SharedStudy], pool: Pool, together: int, listener: Listener) -> None:
    """Run every trial that the studies have left.

    Raises:
        StudyError: the first trials all failed; the next run retries them.
        optuna.exceptions.StorageInternalError: the storage could not be written.
    """
    engine = _Engine(studies, pool, together, listener)
    try:
        with Interrupts() as interrupts:
            engine.run(interrupts)
    except BaseException:
        # Ctrl-C, a full disk: best effort to mark running trials as lost.
        with contextlib.suppress(Exception):
            engine.lose_all()
        raise


class OptunaEngine:
    """Runs trials in worker processes on this machine."""

    def __init__(self, config: StudyConfig, logs: Path) -> None:
        self._together = config.engine.together
        self._pool = Pool(config, config.engine.workers or 1, logs)

    def __enter__(self) -> OptunaEngine:
        self._pool.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._pool.__exit__(*details)

    def call(self, task: Task, *arguments: Any, steps: Steps | None = None) -> Any:
        """Run a task in a worker."""
        return self._pool.call(task, *arguments, steps=steps)

    def search(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        """Run every trial that the studies have left."""
        search(studies, self._pool, self._together, listener)


class _Engine:
    def __init__(self, studies: Sequence[SharedStudy], pool: Pool, together: int, listener: Listener) -> None:
        self._dispatcher, self._pool, self._together, self._listener = (
            Dispatcher(studies, listener),
            pool,
            together,
            listener,
        )
        # The workers that will send a message, with the trials they train together; none while they load torch.
        self._trials: dict[Worker, list[Assignment]] = {}
        self._idle: list[Worker] = []
        # Trials whose process died, and how often.
        self._restarting: deque[Assignment] = deque()
        self._deaths: Counter[ActiveTrial] = Counter()
        self._failed_starts = 0

    def run(self, interrupts: Interrupts) -> None:
        left = self._dispatcher.left
        for worker in self._pool.workers(math.ceil(left / self._together)) if left else []:
            self._start(worker)
        while any(self._trials.values()) or (self._trials and self._work_left):
            with interrupts.point():
                answering = wait(self._trials)
            for worker in answering:
                self._handle_message(worker)
            for worker in [worker for worker in self._trials if worker.seconds_left <= 0]:
                self._handle_timeout(worker)

    def lose_all(self) -> None:
        for study, active in [*itertools.chain(*self._trials.values()), *self._restarting]:
            study.tell(active, Ending(kind="lost"))

    @property
    def _work_left(self) -> bool:
        return bool(self._restarting or self._dispatcher.left)

    def _start(self, worker: Worker) -> None:
        self._trials[worker] = []
        if worker.ready:
            self._assign(worker)

    def _assign(self, worker: Worker) -> None:
        """Send a worker its next trials; without any, it becomes idle."""
        # Stored one by one: if asking for the next one fails, these are marked as lost.
        assignments = self._trials[worker] = []
        if self._restarting:
            # Alone: which of several trials killed their process is not known.
            assignments.append(self._restarting.popleft())
        else:
            while len(assignments) < self._together and (assignment := self._dispatcher.ask()) is not None:
                assignments.append(assignment)
        if assignments:
            actives = [active for _, active in assignments]
            worker.begin("trials", *zip(*((each.cell, each.checkpoint, each.number) for each in actives), strict=True))
        else:
            del self._trials[worker]
            self._idle.append(worker)

    def _handle_message(self, worker: Worker) -> None:
        """Receive one message and answer it."""
        assignments = self._trials[worker]
        try:
            message = worker.receive()
        except WorkerDied as death:
            self._handle_death(worker, death)
            return
        except StudyError as error:
            if worker.ready:
                raise
            self._handle_failed_start(worker, error)
            return
        if message is None:
            return
        kind, *content = message
        if kind == "ready":
            self._failed_starts = 0
            self._assign(worker)
        elif kind == "report":
            index, seed_index, value = content
            keep_going = self._dispatcher.report(assignments[index], seed_index, value)
            if assignments[index][0].prunes:
                worker.answer(keep_going)
        elif self._dispatcher.independent:
            # The next trial does not depend on these results: the worker need not wait for the storage.
            self._assign(worker)
            self._finish(assignments, content[0])
        else:
            self._finish(assignments, content[0])
            self._assign(worker)

    def _finish(self, assignments: list[Assignment], endings: Sequence[Ending]) -> None:
        """Record how trials ended: all of them, even if one ends the study."""
        hopeless = None
        for ending in endings:
            try:
                self._dispatcher.tell(assignments.pop(0), ending)
            except StudyError as error:
                hopeless = error
        if hopeless is not None:
            raise hopeless

    def _handle_timeout(self, worker: Worker) -> None:
        """Kill a worker whose trials exceed the time limit."""
        worker.kill()
        assignments = self._trials[worker]
        self._finish(assignments, [Ending(kind="timed_out", error=worker.overdue)] * len(assignments))
        self._release(worker)

    def _handle_death(self, worker: Worker, death: WorkerDied) -> None:
        """Restart the trials of a worker that died or is unusable, up to `engine.max_failures` times each."""
        if not worker.ready:
            self._handle_failed_start(worker, death)
            return
        assignments = self._trials[worker]
        over: list[Ending] = []
        for assignment, ending in zip(list(assignments), death.endings or [None] * len(assignments), strict=True):
            study, active = assignment
            if ending is None and active.interference is None and self._deaths[active] < self._pool.max_failures:
                self._deaths[active] += 1
                assignments.remove(assignment)
                self._restarting.append(assignment)
                active.restart()
                tries = f"{self._deaths[active]} of {self._pool.max_failures}"
                self._listener.stage(f"trial {active.number} of {study.optimizer} restarts ({tries}): {death}")
            else:
                over.append(ending or Ending(kind="died", error=str(death)))
        self._finish(assignments, over)
        self._release(worker)

    def _handle_failed_start(self, worker: Worker, error: WorkerDied | StudyError) -> None:
        """Continue with fewer workers if one cannot start, for example for lack of memory; retry if none can."""
        del self._trials[worker]
        if others := len(self._trials) + len(self._idle):
            self._pool.retire(worker)
            self._listener.stage(f"a worker could not start; {count(others, 'worker')} left: {error}")
            return
        self._failed_starts += 1
        if self._failed_starts >= HOPELESS or isinstance(error, StudyError):
            raise StudyError(f"no worker can start: {error}")
        self._start(self._pool.replace(worker))

    def _release(self, worker: Worker) -> None:
        """Pass the remaining work to idle workers and a new one."""
        del self._trials[worker]
        while self._idle and self._restarting:
            self._start(self._idle.pop())
        if self._work_left:
            self._start(self._pool.replace(worker))
        else:
            self._pool.retire(worker)
