"""What passes between the trials under way on Ray and the study: the driver's side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.tune.search import Searcher

from epsearch.core.files import write_atomically
from epsearch.engines.dispatcher import Arms, Member
from epsearch.engines.ray import cluster as ray_cluster
from epsearch.engines.ray.logs import Logs
from epsearch.engines.ray.trainable import MESSAGE, Message
from epsearch.engines.ray.watch import Watch
from epsearch.records.listener import Listener
from epsearch.records.trial import Ending
from epsearch.study.config import StudyConfig

ROOM_SECONDS = 5
"""How long a look at the cluster's nodes is believed."""

TIMED_OUT = "took longer than {:g} minutes, the limit that engine.trial_timeout sets"

Judge = Callable[[int, float], bool]
"""`judge(step, metric) -> whether Ray's scheduler lets the trial go on`."""


class Abandoned(BaseException):
    """Ends Tune at once for `cause`; an Exception would have it wait until every trial has stopped."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class Dialogue:
    """The trials under way, by Tune's names for them, and what passes between them and the study.

    What goes wrong in it is kept, and raised between two of Tune's steps: inside one, Tune would take it for the
    trial's failure.
    """

    def __init__(self, arms: Arms, config: StudyConfig, logs: Logs, listener: Listener, watch: Watch) -> None:
        self._arms, self._config, self._logs, self._listener = arms, config, logs, listener
        self._members: dict[str, Member] = {}
        self._began: dict[str, float] = {}
        """Since when a trial has been training: since the first message of this try."""
        self._unusable: dict[str, str] = {}
        """Why the process of a trial is about to end."""
        self._trouble: Exception | None = None
        self.watch = watch
        self._room, self._looked = max(1, ray_cluster.room(config)), time.monotonic()

    @property
    def limit(self) -> int:
        """How many trials may be under way: `workers`, or as many as the nodes have room for now.

        A trial that waits for room would choose its parameters knowing less than it could.
        """
        if self._config.engine.workers is not None:
            return self._config.engine.workers
        if self.watch.answers and time.monotonic() - self._looked > ROOM_SECONDS:
            self._room, self._looked = max(1, ray_cluster.room(self._config)), time.monotonic()
        return self._room

    def ask(self, name: str) -> dict[str, Any] | str | None:
        """What Tune shall try next: its configuration, None for nothing now, or that there is no more."""
        if len(self._members) >= self.limit:
            return None
        member = None
        if self._trouble is None:
            try:
                member = self._arms.ask()
            except Exception as error:
                self._trouble = error
        if member is None:
            return str(Searcher.FINISHED)
        self._members[name] = member
        return {"cell": member[1].cell.model_dump(), "number": member[1].number, "checkpoint": None}

    def hear(self, name: str, result: dict[str, Any], judge: Judge) -> bool:
        """Take in what a trial says, and answer whether it goes on."""
        if self._trouble is not None or name not in self._members:
            return True
        try:
            return self._take_in(name, result, judge)
        except Exception as error:
            self._trouble = error
            return True

    def _take_in(self, name: str, result: dict[str, Any], judge: Judge) -> bool:
        message: Message = result[MESSAGE]
        member = study, asked = self._members[name]
        self._began.setdefault(name, time.monotonic())
        self._logs.write(f"worker-{result['node_ip']}-{result['pid']}", message.printed, asked.number)
        if message.trouble is not None:
            raise message.trouble
        if message.checkpoint is not None and asked.checkpoint is not None:
            _keep(asked.checkpoint, message.checkpoint)
        if message.unusable is not None:
            self._unusable[name] = message.unusable
        if message.first == 0:
            study.begin_again(asked)
        go_on = True
        for seed_index, value in message.reports:
            go_on = self._arms.report(member, seed_index, value) and go_on
            if asked.steps > asked.known_steps:
                go_on = judge(asked.steps, value) and go_on
        if message.ending is not None or not go_on:
            self._end(name, message.ending or Ending(kind="pruned"))
            return False
        return True

    def death(self, name: str) -> str | None:
        """Why the process of a trial ended itself; None where it did not. Whether it restarts is Tune's to count."""
        self._began.pop(name, None)
        return self._unusable.pop(name, None)

    def bury(self, name: str, error: str) -> None:
        """A trial's process died, and Tune tries it no more."""
        self._end_here(name, Ending(kind="died", error=error))

    def overdue(self) -> set[str]:
        """The trials that have been training for longer than `engine.trial_timeout`, which end as such."""
        if (limit := self._config.engine.trial_timeout) is None:
            return set()
        now = time.monotonic()
        late = {name for name, began in self._began.items() if now - began > 60 * limit}
        for name in late:
            self._end_here(name, Ending(kind="timed_out", error=TIMED_OUT.format(limit)))
        return late

    def restarts(self, name: str, times: int, death: str) -> None:
        """A trial whose process died is tried again, for so many times now."""
        study, asked = self._members[name]
        of = f"{times} of {self._config.engine.max_failures}"
        self._listener.stage(f"trial {asked.number} of {study.optimizer} restarts ({of}): {death}")

    def checkpoint(self, name: str) -> Any:
        """Reference to the bytes of the checkpoint from which a trial continues; None where there is none."""
        _, asked = self._members[name]
        if self._config.training.checkpoint_every is None or asked.checkpoint is None:
            return None
        try:
            return ray.put(asked.checkpoint.read_bytes())
        except OSError:
            return None

    def raise_trouble(self) -> None:
        """Raise what has gone wrong, past Tune."""
        if self._trouble is not None:
            raise Abandoned(self._trouble)

    def lose_all(self) -> None:
        """Nobody waits for the trials under way any more."""
        with contextlib.suppress(Exception):
            for study, asked in self._members.values():
                study.tell(asked, Ending(kind="lost"))

    def _end_here(self, name: str, ending: Ending) -> None:
        if self._trouble is None and name in self._members:
            try:
                self._end(name, ending)
            except Exception as trouble:
                self._trouble = trouble

    def _end(self, name: str, ending: Ending) -> None:
        member = self._members[name]
        self._began.pop(name, None)
        self._arms.tell(member, ending)
        del self._members[name]


def _keep(path: Path, content: Any) -> None:
    """Write a checkpoint's bytes to its file; what is lost on the way costs the checkpoint, not the trial."""
    with contextlib.suppress(OSError, ray.exceptions.RayError):
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, ray.get(content))
