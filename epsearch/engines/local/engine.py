"""The Optuna engine: asks the study, has worker processes of this machine train, tells the study."""

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
from epsearch.engines.dispatcher import HOPELESS, Arms, Member
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.local.pool import Pool, Worker, WorkerDied, wait
from epsearch.records.listener import Listener
from epsearch.records.trial import Ending
from epsearch.search.study import Asked, SharedStudy
from epsearch.study.config import StudyConfig


def search(studies: Sequence[SharedStudy], pool: Pool, together: int, listener: Listener) -> None:
    """Run every trial that the studies have left.

    Raises:
        StudyError: no trial gets anywhere; the cells are tried again by the next run.
        optuna.exceptions.StorageInternalError: the storage could not be written.
    """
    engine = _Engine(studies, pool, together, listener)
    try:
        with Interrupts() as interrupts:
            engine.run(interrupts)
    except BaseException:
        # Ctrl-C, a full disk: say in the storage, if it still listens, that these trials are under way no more.
        with contextlib.suppress(Exception):
            engine.lose_all()
        raise


class OptunaEngine:
    """Trials in worker processes of this machine."""

    def __init__(self, config: StudyConfig, logs: Path) -> None:
        self._together = config.engine.together
        self._pool = Pool(config, config.engine.workers or 1, logs)

    def __enter__(self) -> OptunaEngine:
        self._pool.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._pool.__exit__(*details)

    def call(self, task: str) -> Any:
        """Carry out a task in a worker."""
        return self._pool.call(task)

    def search(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        """Run every trial that the studies have left."""
        search(studies, self._pool, self._together, listener)


class _Engine:
    def __init__(self, studies: Sequence[SharedStudy], pool: Pool, together: int, listener: Listener) -> None:
        self._arms, self._pool, self._together, self._listener = Arms(studies, listener), pool, together, listener
        # Every worker that is to be heard from: with the trials that it trains together, or none while it is still
        # loading torch.
        self._trials: dict[Worker, list[Member]] = {}
        self._idle: list[Worker] = []
        # Trials whose process died, and how often.
        self._again: deque[Member] = deque()
        self._deaths: Counter[Asked] = Counter()
        self._failed_starts = 0

    def run(self, interrupts: Interrupts) -> None:
        left = self._arms.left
        for worker in self._pool.workers(math.ceil(left / self._together)) if left else []:
            self._begin(worker)
        while any(self._trials.values()) or (self._trials and self._work_left):
            with interrupts.point():
                answering = wait(self._trials)
            for worker in answering:
                self._hear(worker)
            for worker in [worker for worker in self._trials if worker.seconds_left <= 0]:
                self._stop(worker)

    def lose_all(self) -> None:
        for study, asked in [*itertools.chain(*self._trials.values()), *self._again]:
            study.tell(asked, Ending(kind="lost"))

    @property
    def _work_left(self) -> bool:
        return bool(self._again or self._arms.left)

    def _begin(self, worker: Worker) -> None:
        self._trials[worker] = []
        if worker.ready:
            self._give(worker)

    def _give(self, worker: Worker) -> None:
        """Send a worker its next trials; if there are none, it need not be heard from."""
        # Noted as they are asked for: a failure on the way must not leave them RUNNING.
        members = self._trials[worker] = []
        if self._again:
            # By itself: which of several took their process with it is not known.
            members.append(self._again.popleft())
        else:
            while len(members) < self._together and (member := self._arms.ask()) is not None:
                members.append(member)
        if members:
            asked = [asked for _, asked in members]
            worker.begin("trials", *zip(*((each.cell, each.checkpoint, each.number) for each in asked), strict=True))
        else:
            del self._trials[worker]
            self._idle.append(worker)

    def _hear(self, worker: Worker) -> None:
        """Take one message and answer it."""
        members = self._trials[worker]
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
            self._give(worker)
        elif kind == "report":
            index, seed_index, value = content
            go_on = self._arms.report(members[index], seed_index, value)
            if members[index][0].prunes:
                worker.answer(go_on)
        elif self._arms.independent:
            # What is tried next does not depend on what came out: the worker shall not wait for the storage.
            self._give(worker)
            self._tell(members, content[0])
        else:
            self._tell(members, content[0])
            self._give(worker)

    def _tell(self, members: list[Member], endings: Sequence[Ending]) -> None:
        """Tell how trials ended, all of them also where that ends the study."""
        hopeless = None
        for ending in endings:
            try:
                self._arms.tell(members.pop(0), ending)
            except StudyError as error:
                hopeless = error
        if hopeless is not None:
            raise hopeless

    def _stop(self, worker: Worker) -> None:
        """Kill a worker whose trials take too long."""
        worker.kill()
        members = self._trials[worker]
        self._tell(members, [Ending(kind="timed_out", error=worker.overdue)] * len(members))
        self._do_without(worker)

    def _handle_death(self, worker: Worker, death: WorkerDied) -> None:
        """Restart the trials of a worker whose process is gone or unusable, up to `engine.max_failures` times each."""
        if not worker.ready:
            self._handle_failed_start(worker, death)
            return
        members = self._trials[worker]
        over: list[Ending] = []
        for member, ending in zip(list(members), death.endings or [None] * len(members), strict=True):
            study, asked = member
            if ending is None and asked.taken is None and self._deaths[asked] < self._pool.max_failures:
                self._deaths[asked] += 1
                members.remove(member)
                self._again.append(member)
                study.begin_again(asked)
                tries = f"{self._deaths[asked]} of {self._pool.max_failures}"
                self._listener.stage(f"trial {asked.number} of {study.optimizer} restarts ({tries}): {death}")
            else:
                over.append(ending or Ending(kind="died", error=str(death)))
        self._tell(members, over)
        self._do_without(worker)

    def _handle_failed_start(self, worker: Worker, error: WorkerDied | StudyError) -> None:
        """Continue with fewer workers where one cannot start, as when memory is short; try again where none can."""
        del self._trials[worker]
        if others := len(self._trials) + len(self._idle):
            self._pool.retire(worker)
            self._listener.stage(f"a worker could not start; {count(others, 'worker')} left: {error}")
            return
        self._failed_starts += 1
        if self._failed_starts >= HOPELESS or isinstance(error, StudyError):
            raise StudyError(f"no worker can start: {error}")
        self._begin(self._pool.replace(worker))

    def _do_without(self, worker: Worker) -> None:
        """Give what a worker leaves to those that are idle, and to a new one."""
        del self._trials[worker]
        while self._idle and self._again:
            self._begin(self._idle.pop())
        if self._work_left:
            self._begin(self._pool.replace(worker))
        else:
            self._pool.retire(worker)
