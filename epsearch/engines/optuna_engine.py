"""The Optuna engine: asks the study, has worker processes of this machine train, tells the study."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any

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
        engine.run()
    except BaseException:
        # Ctrl-C, a full disk: say in the storage, if it still listens, that these trials are under way no more.
        with contextlib.suppress(Exception):
            engine.lose_all()
        raise


class _Engine:
    def __init__(self, studies: Sequence[SharedStudy], pool: Pool, together: int, listener: Listener) -> None:
        self._studies, self._pool, self._together, self._listener = studies, pool, together, listener
        self._busy: dict[Worker, list[tuple[SharedStudy, Asked]]] = {}
        self._failed_to_start: list[str] = []
        self._any_good = False
        self._failures: list[str] = []

    def run(self) -> None:
        left = sum(study.left for study in self._studies)
        idle = list(self._pool.workers(-(-left // self._together))) if left else []
        while True:
            for worker in idle:
                # One that is still loading torch is waited for; the others need not.
                self._busy[worker] = self._start(worker) if worker.ready else []
                if worker.ready and not self._busy[worker]:
                    del self._busy[worker]
            if not self._busy or (not any(self._busy.values()) and not any(study.left for study in self._studies)):
                return
            by_connection: dict[Any, Worker] = {worker.connection: worker for worker in self._busy}
            answering = [by_connection[connection] for connection in wait(list(by_connection))]
            idle = [free for worker in answering if (free := self._hear(worker)) is not None]

    def lose_all(self) -> None:
        for members in self._busy.values():
            for study, asked in members:
                study.tell(asked, Ending(kind="lost"))

    def _start(self, worker: Worker) -> list[tuple[SharedStudy, Asked]]:
        """Give a worker its next trials."""
        members: list[tuple[SharedStudy, Asked]] = []
        for study in self._studies:
            while len(members) < self._together and (asked := study.ask()) is not None:
                members.append((study, asked))
                # Noted at once: a failure before they are sent must not leave them RUNNING.
                self._busy[worker] = members
                self._listener.trial_started(study.optimizer, asked.number, asked.cell)
        if members:
            worker.send(("trials", [asked.cell for _, asked in members]))
        return members

    def _hear(self, worker: Worker) -> Worker | None:
        """Take one message; the worker that is idle after it, if it is."""
        members = self._busy[worker]
        try:
            kind, *content = worker.receive()
        except WorkerDied as error:
            return self._bury(worker, str(error))
        except StudyError as error:
            content, kind = [[Ending(kind="raised", error=str(error))] * len(members)], "result"
        if kind == "report":
            index, seed_index, value = content
            study, asked = members[index]
            worker.send(study.report(asked, seed_index, value))
            self._listener.trial_reported(study.optimizer, asked.number, asked.steps, value)
            return None
        if kind == "result":
            self._tell(members, content[0])
        self._busy.pop(worker)
        return worker

    def _tell(self, members: list[tuple[SharedStudy, Asked]], endings: Sequence[Ending]) -> None:
        for (study, asked), ending in zip(list(members), endings, strict=True):
            value = study.tell(asked, ending)
            members.remove((study, asked))
            self._listener.trial_ended(study.optimizer, asked.number, asked.cell, ending, value)
            if ending.kind in ("raised", "died"):
                self._failures.append(ending.error or ending.kind)
            else:
                self._any_good = True
        if not self._any_good and len(self._failures) >= HOPELESS:
            raise StudyError(
                f"the first {len(self._failures)} trials all failed, the last with: {self._failures[-1]}\n"
                "Tracebacks are in the run directory's logs/. Mend it and run the same command: "
                "these cells are tried again."
            )

    def _bury(self, worker: Worker, death: str) -> Worker:
        """A worker's process is gone: its trials are, and a new one takes its place."""
        members = self._busy.pop(worker)
        if members:
            self._busy[worker] = members
            self._tell(members, [Ending(kind="died", error=death)] * len(members))
            self._busy.pop(worker)
        else:
            self._failed_to_start.append(death)
            if len(self._failed_to_start) >= HOPELESS:
                raise StudyError(f"workers do not start: {death}")
        return self._pool.replace(worker)
