"""The Optuna engine: asks the study, has worker processes of this machine train, tells the study."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from epsearch.config import StudyConfig
from epsearch.engines.arms import HOPELESS, Arms, Member
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.pool import Pool, Worker, WorkerDied
from epsearch.engines.study import SharedStudy
from epsearch.errors import StudyError
from epsearch.progress import Listener
from epsearch.records import Ending


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
        self._pool = Pool(config, config.engine.workers, logs)

    def __enter__(self) -> OptunaEngine:
        self._pool.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._pool.__exit__(*details)

    def call(self, task: str) -> Any:
        """Carry out a task in a worker."""
        return self._pool.first.call(task)

    def search(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        """Run every trial that the studies have left."""
        search(studies, self._pool, self._together, listener)


class _Engine:
    def __init__(self, studies: Sequence[SharedStudy], pool: Pool, together: int, listener: Listener) -> None:
        self._arms, self._pool, self._together = Arms(studies, listener), pool, together
        # Every worker that is to be heard from: with the trials that it trains together, or none while it is still
        # loading torch.
        self._trials: dict[Worker, list[Member]] = {}
        self._deaths_at_start = 0

    def run(self, interrupts: Interrupts) -> None:
        left = self._arms.left
        for worker in self._pool.workers(math.ceil(left / self._together)) if left else []:
            self._begin(worker)
        while any(self._trials.values()) or (self._trials and self._arms.left):
            by_connection: dict[Any, Worker] = {worker.connection: worker for worker in self._trials}
            with interrupts.point():
                answering = wait(list(by_connection))
            for connection in answering:
                self._hear(by_connection[connection])

    def lose_all(self) -> None:
        for members in self._trials.values():
            for study, asked in members:
                study.tell(asked, Ending(kind="lost"))

    def _begin(self, worker: Worker) -> None:
        self._trials[worker] = []
        if worker.ready:
            self._give(worker)

    def _give(self, worker: Worker) -> None:
        """Send a worker its next trials; if there are none, it need not be heard from again."""
        # Noted as they are asked for: a failure on the way must not leave them RUNNING.
        members = self._trials[worker] = []
        while len(members) < self._together and (member := self._arms.ask()) is not None:
            members.append(member)
        if members:
            worker.send(("trials", [asked.cell for _, asked in members], [asked.checkpoint for _, asked in members]))
        else:
            del self._trials[worker]

    def _hear(self, worker: Worker) -> None:
        """Take one message and answer it."""
        members = self._trials[worker]
        try:
            kind, *content = worker.receive()
        except WorkerDied as error:
            self._bury(worker, str(error))
            return
        if kind == "ready":
            self._give(worker)
        elif kind == "report":
            index, seed_index, value = content
            go_on = self._arms.report(members[index], seed_index, value)
            if members[index][0].prunes:
                worker.send(go_on)
        elif self._arms.independent:
            # What is tried next does not depend on what came out: the worker shall not wait for the storage.
            self._give(worker)
            self._tell(members, content[0])
        else:
            self._tell(members, content[0])
            self._give(worker)

    def _tell(self, members: Sequence[Member], endings: Sequence[Ending]) -> None:
        for member, ending in zip(members, endings, strict=True):
            self._arms.tell(member, ending)

    def _bury(self, worker: Worker, death: str) -> None:
        """A worker's process is gone: its trials are, and a new one takes its place."""
        members = self._trials.pop(worker)
        if not members:
            self._deaths_at_start += 1
            if self._deaths_at_start >= HOPELESS:
                raise StudyError(f"workers do not start: {death}")
        self._tell(members, [Ending(kind="died", error=death)] * len(members))
        self._begin(self._pool.replace(worker))
