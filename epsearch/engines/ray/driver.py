"""The driver's side of the Ray engine: passes results from Tune's trials to the study, and decisions back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.tune.search import Searcher

from epsearch.core.files import write_atomically
from epsearch.engines.dispatcher import Assignment, Dispatcher
from epsearch.engines.logs import Logs
from epsearch.engines.ray import cluster as ray_cluster
from epsearch.engines.ray.trainable import MESSAGE, Message
from epsearch.engines.ray.watch import Watch
from epsearch.records.listener import Listener
from epsearch.records.trial import Ending
from epsearch.study.config import StudyConfig

ROOM_SECONDS = 5
"""How long the number of free slots on the cluster is cached."""

TIMED_OUT = "took longer than {:g} minutes, the limit that engine.trial_timeout sets"

Judge = Callable[[int, float], bool]
"""`judge(step, metric) -> whether Ray's scheduler lets the trial continue`."""


class StudyAborted(BaseException):
    """Ends Tune at once because of `cause`. After an Exception, Tune would wait until every trial has stopped."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class TuneDriver:
    """Connects Tune's trials, by their Tune ids, with the study.

    Errors are stored and raised between two steps of Tune: within a step, Tune would count them as the trial's failure.
    """

    def __init__(
        self, dispatcher: Dispatcher, config: StudyConfig, logs: Logs, listener: Listener, watch: Watch
    ) -> None:
        self._dispatcher, self._config, self._logs, self._listener = dispatcher, config, logs, listener
        self._assignments: dict[str, Assignment] = {}
        self._began: dict[str, float] = {}
        """When each trial began to train: at the first message of this attempt."""
        self._unusable: dict[str, str] = {}
        """Why a trial's process is about to end."""
        self._error: Exception | None = None
        self.watch = watch
        self._room, self._looked = max(1, ray_cluster.room(config)), time.monotonic()

    @property
    def limit(self) -> int:
        """How many trials may run at once: `workers`, or as many as fit on the nodes now.

        A trial that waited for a free node would have chosen its parameters too early, from fewer results.
        """
        if self._config.engine.workers is not None:
            return self._config.engine.workers
        if self.watch.answers and time.monotonic() - self._looked > ROOM_SECONDS:
            self._room, self._looked = max(1, ray_cluster.room(self._config)), time.monotonic()
        return self._room

    def next_config(self, name: str) -> dict[str, Any] | str | None:
        """The next trial's configuration; None if none may start now; FINISHED if none is left."""
        if len(self._assignments) >= self.limit:
            return None
        assignment = None
        if self._error is None:
            try:
                assignment = self._dispatcher.ask()
            except Exception as error:
                self._error = error
        if assignment is None:
            return str(Searcher.FINISHED)
        self._assignments[name] = assignment
        return {"cell": assignment[1].cell.model_dump(), "number": assignment[1].number, "checkpoint": None}

    def handle_result(self, name: str, result: dict[str, Any], judge: Judge) -> bool:
        """Process a trial's message; return whether it continues."""
        if self._error is not None or name not in self._assignments:
            return True
        try:
            return self._process(name, result, judge)
        except Exception as error:
            self._error = error
            return True

    def _process(self, name: str, result: dict[str, Any], judge: Judge) -> bool:
        message: Message = result[MESSAGE]
        assignment = self._assignments[name]
        active = assignment[1]
        self._began.setdefault(name, time.monotonic())
        self._logs.write(f"worker-{result['node_ip']}-{result['pid']}", message.printed, active.number)
        if message.error is not None:
            raise message.error
        if message.checkpoint is not None and active.checkpoint is not None:
            _save_checkpoint(active.checkpoint, message.checkpoint)
        if message.unusable is not None:
            self._unusable[name] = message.unusable
        if message.first == 0:
            active.restart()
        keep_going = True
        for seed_index, value in message.reports:
            keep_going = self._dispatcher.report(assignment, seed_index, value) and keep_going
            if active.steps > active.known_steps:
                keep_going = judge(active.steps, value) and keep_going
        if message.ending is not None or not keep_going:
            self._end(name, message.ending or Ending(kind="pruned"))
            return False
        return True

    def handle_death(self, name: str) -> str | None:
        """Why a trial's process ended itself; None if it did not. Tune decides whether the trial restarts."""
        self._began.pop(name, None)
        return self._unusable.pop(name, None)

    def handle_final_death(self, name: str, error: str) -> None:
        """End a trial whose process died and which Tune does not restart."""
        self._end_safely(name, Ending(kind="died", error=error))

    def overdue(self) -> set[str]:
        """End the trials that exceed `engine.trial_timeout` and return their ids."""
        if (limit := self._config.engine.trial_timeout) is None:
            return set()
        now = time.monotonic()
        late = {name for name, began in self._began.items() if now - began > 60 * limit}
        for name in late:
            self._end_safely(name, Ending(kind="timed_out", error=TIMED_OUT.format(limit)))
        return late

    def restarts(self, name: str, times: int, death: str) -> None:
        """Notify the listener that a trial whose process died restarts for the `times`-th time."""
        study, active = self._assignments[name]
        of = f"{times} of {self._config.engine.max_failures}"
        self._listener.stage(f"trial {active.number} of {study.optimizer} restarts ({of}): {death}")

    def checkpoint(self, name: str) -> Any:
        """Reference to the bytes of the checkpoint that a trial resumes from; None if there is none."""
        _, active = self._assignments[name]
        if self._config.training.checkpoint_every is None or active.checkpoint is None:
            return None
        try:
            return ray.put(active.checkpoint.read_bytes())
        except OSError:
            return None

    def raise_error(self) -> None:
        """Raise the stored error, past Tune."""
        if self._error is not None:
            raise StudyAborted(self._error)

    def lose_all(self) -> None:
        """Mark running trials as lost."""
        with contextlib.suppress(Exception):
            for study, active in self._assignments.values():
                study.tell(active, Ending(kind="lost"))

    def _end_safely(self, name: str, ending: Ending) -> None:
        if self._error is None and name in self._assignments:
            try:
                self._end(name, ending)
            except Exception as error:
                self._error = error

    def _end(self, name: str, ending: Ending) -> None:
        assignment = self._assignments[name]
        self._began.pop(name, None)
        self._dispatcher.tell(assignment, ending)
        del self._assignments[name]


def _save_checkpoint(path: Path, content: Any) -> None:
    """Write a checkpoint to its file. If that fails, the checkpoint is lost, not the trial."""
    with contextlib.suppress(OSError, ray.exceptions.RayError):
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, ray.get(content))
