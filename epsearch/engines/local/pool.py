"""Worker processes and the pipes to them.

Every trial trains in a worker process, even with one worker: a trial that crashes or runs out of memory affects
nothing else, and the driver does not need torch. Workers are started with `python -m` instead of `multiprocessing`, so
that scripts that call `epsearch.run` need no `if __name__ == "__main__"`.
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

from epsearch.core.environment import no_storage_variable
from epsearch.core.errors import StudyError
from epsearch.engines.base import Steps
from epsearch.records.trial import Ending
from epsearch.study.config import StudyConfig

ENDING_SECONDS = 10
"""Time for a process to end after it closed its pipe."""

LONGEST_WAIT = 3600.0
"""Seconds; poll() overflows after some weeks."""


class WorkerDied(Exception):
    """A worker process ended, or must end, without a result; the text gives the reason and the log file."""

    def __init__(self, reason: str, endings: Sequence[Ending | None] = ()) -> None:
        super().__init__(reason)
        self.endings = endings
        """The endings of its trials that were already over, if known; None for the others."""


class Worker:
    """One worker process; its output goes to `log`."""

    def __init__(self, config: StudyConfig, log: Path) -> None:
        self.log = log
        self.ready = False
        """Whether it has loaded the study."""
        minutes = config.engine.trial_timeout
        self._limit = None if minutes is None else 60 * minutes
        self._task, self._deadline = 0, float("inf")
        self.connection, theirs = multiprocessing.Pipe()
        log.parent.mkdir(exist_ok=True)
        with theirs, log.open("a+b") as output, no_storage_variable():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "epsearch.engines.local.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the driver, which ends its workers in order.
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            self._send(config.without_storage())
        except BaseException:
            self.close()
            raise

    @property
    def seconds_left(self) -> float:
        """Time left until `engine.trial_timeout`; infinite without a limit."""
        return self._deadline - time.monotonic()

    def begin(self, *task: Any) -> None:
        """Send the name and arguments of a task. If the worker is dead, the next `receive` raises."""
        self._task += 1
        self._deadline = float("inf") if self._limit is None else time.monotonic() + self._limit
        self._send((self._task, *task))

    def answer(self, go_on: bool) -> None:
        """Answer a report."""
        self._send(go_on)

    def receive(self) -> tuple[Any, ...] | None:
        """The worker's next message: its kind and content; None if it comes from another process or task.

        Raises:
            WorkerDied: its process ended, or must not be used again.
            UserError, StudyError: raised in the worker.
        """
        try:
            process, task, kind, *content = self.connection.recv()
        except (EOFError, OSError):
            raise self._died(self._end()) from None
        except Exception as error:
            # The driver survives whatever the user's code writes to the pipe.
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

    def call(self, *task: Any, steps: Steps | None = None) -> Any:
        """Run one task and wait for its result; `steps` follows its training.

        Raises:
            WorkerDied: its process ended.
            UserError, StudyError: raised in the worker, or it exceeded `engine.trial_timeout`.
        """
        try:
            while not self.ready:
                self.receive()
            self.begin(*task)
            while self.seconds_left > 0:
                if not wait([self]) or (message := self.receive()) is None:
                    continue
                kind, content = message
                if kind == "result":
                    return content
                if steps is not None:
                    steps(content)
        except StudyError as error:
            raise StudyError(f"{error} (log: {self.log})") from None
        self.close()
        raise StudyError(f"the {task[0]} task {self.overdue} (log: {self.log})")

    @property
    def overdue(self) -> str:
        """The message for a task that exceeded the time limit."""
        return f"took longer than {(self._limit or 0) / 60:g} minutes, the limit that engine.trial_timeout sets"

    def kill(self) -> None:
        """Kill the process and its children."""
        self.connection.close()
        if self._process.returncode is None:
            # Not yet waited for, so the PID cannot have been reused.
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
        """How a process ended that has closed its pipe."""
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
    """The workers that sent a message; may be empty when a worker's time is over."""
    by_connection: dict[Any, Worker] = {worker.connection: worker for worker in workers}
    left = min(worker.seconds_left for worker in by_connection.values())
    timeout = None if left == float("inf") else min(max(left, 0.0), LONGEST_WAIT)
    return [by_connection[connection] for connection in multiprocessing.connection.wait(list(by_connection), timeout)]


class Pool:
    """Up to `size` workers, started on demand."""

    def __init__(self, config: StudyConfig, size: int, logs: Path) -> None:
        self._config, self._size, self._logs = config, size, logs
        self.max_failures = config.engine.max_failures
        self._workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        # Kill all before waiting for any: a wait may be interrupted.
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.close()

    def call(self, *task: Any, steps: Steps | None = None) -> Any:
        """Run a task that comes before the trials; retry it in a new process if its process dies.

        Raises:
            UserError, StudyError: raised by the task, or its process died more than `engine.max_failures` times.
        """
        for failures in itertools.count():
            (worker, *_) = self.workers(1)
            try:
                return worker.call(*task, steps=steps)
            except WorkerDied as death:
                if failures == self.max_failures:
                    raise StudyError(str(death)) from None
                self.replace(worker)

    def workers(self, wanted: int) -> list[Worker]:
        """At least `wanted` workers, up to the pool's size; missing ones are started."""
        while len(self._workers) < min(wanted, self._size):
            log = self._logs / f"worker-{len(self._workers)}.log"
            self._workers.append(Worker(self._config, log))
        return list(self._workers)

    def replace(self, worker: Worker) -> Worker:
        """Replace a dead worker with a new one."""
        worker.close()
        new = Worker(self._config, worker.log)
        self._workers[self._workers.index(worker)] = new
        return new

    def retire(self, worker: Worker) -> None:
        """End a worker without replacing it."""
        worker.close()
        self._workers.remove(worker)
