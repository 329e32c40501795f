"""The Optuna engine: asks the study, has worker processes of this machine train, tells the study."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

from epsearch.engines.interrupts import Interrupts
from epsearch.engines.pool import Pool, Worker, WorkerDied
from epsearch.engines.study import Asked, SharedStudy
from epsearch.errors import StudyError
from epsearch.progress import Listener
from epsearch.records import Ending

HOPELESS = 3
"""If the first trials of a run, at least so many, all raise or die, the rest would too: stop and say so."""


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


Members = list[tuple[SharedStudy, Asked]]
"""The trials that one worker trains together."""


class _Engine:
    def __init__(self, studies: Sequence[SharedStudy], pool: Pool, together: int, listener: Listener) -> None:
        self._studies, self._pool, self._together, self._listener = studies, pool, together, listener
        # Every worker that is to be heard from: with its trials, or none while it is still loading torch.
        self._trials: dict[Worker, Members] = {}
        self._deaths_at_start = 0
        self._failures: list[str] = []
        self._any_good = False

    def run(self, interrupts: Interrupts) -> None:
        left = sum(study.left for study in self._studies)
        for worker in self._pool.workers(math.ceil(left / self._together)) if left else []:
            self._begin(worker)
        while any(self._trials.values()) or (self._trials and any(study.left for study in self._studies)):
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
        for study in self._studies:
            while len(members) < self._together and (asked := study.ask()) is not None:
                members.append((study, asked))
                self._listener.trial_started(study.optimizer, asked.number, asked.cell)
        if members:
            worker.send(("trials", [asked.cell for _, asked in members]))
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
            study, asked = members[index]
            go_on = study.report(asked, seed_index, value)
            if study.prunes:
                worker.send(go_on)
            self._listener.trial_reported(study.optimizer, asked.number, asked.steps, value)
        elif all(study.independent for study in self._studies):
            # What is tried next does not depend on what came out: the worker shall not wait for the storage.
            self._give(worker)
            self._tell(members, content[0])
        else:
            self._tell(members, content[0])
            self._give(worker)

    def _tell(self, members: Members, endings: Sequence[Ending]) -> None:
        for (study, asked), ending in zip(members, endings, strict=True):
            value = study.tell(asked, ending)
            self._listener.trial_ended(study.optimizer, asked.number, asked.cell, ending, value)
            if ending.kind in ("raised", "died"):
                self._failures.append(ending.error or ending.kind)
            else:
                self._any_good = True
        if not self._any_good and len(self._failures) >= HOPELESS:
            raise StudyError(
                f"the first {len(self._failures)} trials all failed, the last with: {self._failures[-1]}\n"
                "The run directory's logs/ have the details. Mend it and run the same command: these cells are "
                "tried again."
            )

    def _bury(self, worker: Worker, death: str) -> None:
        """A worker's process is gone: its trials are, and a new one takes its place."""
        members = self._trials.pop(worker)
        if not members:
            self._deaths_at_start += 1
            if self._deaths_at_start >= HOPELESS:
                raise StudyError(f"workers do not start: {death}")
        self._tell(members, [Ending(kind="died", error=death)] * len(members))
        self._begin(self._pool.replace(worker))
