"""Worker processes and the pipes to them.

A process of its own for each concurrent trial, also when there is one: a trial that crashes or is killed for memory
takes nothing with it, and the driver needs no torch. They are started as `python -m`, not by `multiprocessing`, so
that a script that calls `epsearch.run` needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from epsearch.core.environment import without_storage
from epsearch.core.errors import StudyError
from epsearch.records.trial import Ending
from epsearch.study.config import StudyConfig

ENDING_SECONDS = 10
"""A process that has closed its pipe is given so long to end."""

LONGEST_WAIT = 3600.0
"""Seconds; poll() takes no more than some weeks."""


class WorkerDied(Exception):
    """A worker's process ended, or must, without an answer; the text says why and where its log is."""

    def __init__(self, reason: str, endings: Sequence[Ending | None] = ()) -> None:
        super().__init__(reason)
        self.endings = endings
        """Of its trials, how those ended that were over by then, if it could still say so; None for the others."""


class Worker:
    """One worker process; what the code in it prints goes to `log`."""

    def __init__(self, config: StudyConfig, log: Path) -> None:
        self.log = log
        self.ready = False
        """Whether it has loaded the study."""
        minutes = config.engine.trial_timeout
        self._limit = None if minutes is None else 60 * minutes
        self._task, self._deadline = 0, float("inf")
        self.connection, theirs = multiprocessing.Pipe()
        log.parent.mkdir(exist_ok=True)
        with theirs, log.open("a+b") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "epsearch.engines.local.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the driver, which ends its workers in order.
                start_new_session=True,
                env={**without_storage(os.environ), "PYTHONUNBUFFERED": "1"},
            )
        try:
            self._send(config.without_storage())
        except BaseException:
            self.close()
            raise

    @property
    def seconds_left(self) -> float:
        """Until its task has taken longer than `engine.trial_timeout`; infinite where there is no limit."""
        return self._deadline - time.monotonic()

    def begin(self, *task: Any) -> None:
        """Send the name and the arguments of a task; that the worker is dead is found when it is received from."""
        self._task += 1
        self._deadline = float("inf") if self._limit is None else time.monotonic() + self._limit
        self._send((self._task, *task))

    def answer(self, go_on: bool) -> None:
        """Answer a report."""
        self._send(go_on)

    def receive(self) -> tuple[Any, ...] | None:
        """The worker's next message: its kind and content; None for one of another process or task.

        Raises:
            WorkerDied: its process ended, or must not be used again.
            UserError, StudyError: that the worker met.
        """
        try:
            process, task, kind, *content = self.connection.recv()
        except (EOFError, OSError):
            raise self._died(self._end()) from None
        except Exception as error:
            # Whatever the user's code did to the pipe, the driver outlives it.
            raise self._died(f"sent what cannot be read ({type(error).__name__}: {error!s:.100})") from error
        if (process, task) != (self._process.pid, self._task):
            return None
        if kind == "error":
            raise content[0]
        if kind == "unusable":
            reason, endings = content
            raise WorkerDied(f"{reason}; its log is {self.log}", endings)
        self.ready = True
        return (kind, *content)

    def call(self, *task: Any) -> Any:
        """Carry out one task and wait for its result.

        Raises:
            WorkerDied: its process ended.
            UserError, StudyError: that the worker met; or it took longer than `engine.trial_timeout`.
        """
        try:
            while not self.ready:
                self.receive()
            self.begin(*task)
            while self.seconds_left > 0:
                if wait([self]) and (message := self.receive()) is not None:
                    return message[1]
        except StudyError as error:
            raise StudyError(f"{error} (log: {self.log})") from None
        self.close()
        raise StudyError(f"the {task[0]} task {self.overdue} (log: {self.log})")

    @property
    def overdue(self) -> str:
        """What to say of a task that has taken too long."""
        return f"took longer than {(self._limit or 0) / 60:g} minutes, the limit that engine.trial_timeout sets"

    def kill(self) -> None:
        """Kill the process and those that it started."""
        self.connection.close()
        if self._process.returncode is None:
            # Not yet waited for, so that the number is its own.
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process and wait for its end."""
        self.kill()
        self._process.wait()

    def _send(self, message: Any) -> None:
        with contextlib.suppress(ConnectionError):
            self.connection.send(message)

    def _end(self) -> str:
        """How the process ended, whose end of the pipe is closed."""
        try:
            code = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if code == -signal.SIGKILL:
            return "was killed by SIGKILL (out of memory? use fewer engine.workers)"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _died(self, how: str) -> WorkerDied:
        return WorkerDied(f"a worker process {how}; its log is {self.log}")


def wait(workers: Iterable[Worker]) -> list[Worker]:
    """The workers that have something to say; perhaps none, when the time of one is over."""
    by_connection: dict[Any, Worker] = {worker.connection: worker for worker in workers}
    left = min(worker.seconds_left for worker in by_connection.values())
    timeout = None if left == float("inf") else min(max(left, 0.0), LONGEST_WAIT)
    return [by_connection[connection] for connection in multiprocessing.connection.wait(list(by_connection), timeout)]


class Pool:
    """Up to `size` workers, started when they are needed."""

    def __init__(self, config: StudyConfig, size: int, logs: Path) -> None:
        self._config, self._size, self._logs = config, size, logs
        self.max_failures = config.engine.max_failures
        self._workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        # All before any is waited for: a wait may be interrupted.
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.close()

    def call(self, *task: Any) -> Any:
        """Carry out what comes before the trials; where its process dies, again in a new one.

        Raises:
            UserError, StudyError: that the task met, or its process died more than `engine.max_failures` times.
        """
        for failures in itertools.count():
            (worker, *_) = self.workers(1)
            try:
                return worker.call(*task)
            except WorkerDied as death:
                if failures == self.max_failures:
                    raise StudyError(str(death)) from None
                self.replace(worker)

    def workers(self, wanted: int) -> list[Worker]:
        """At least `wanted` workers, though never more than the pool's size; missing ones are started."""
        while len(self._workers) < min(wanted, self._size):
            log = self._logs / f"worker-{len(self._workers)}.log"
            self._workers.append(Worker(self._config, log))
        return list(self._workers)

    def replace(self, worker: Worker) -> Worker:
        """Start a new worker in the place of a dead one."""
        worker.close()
        new = Worker(self._config, worker.log)
        self._workers[self._workers.index(worker)] = new
        return new

    def retire(self, worker: Worker) -> None:
        """End a worker that is not replaced."""
        worker.close()
        self._workers.remove(worker)
