"""Worker processes and the pipes to them.

A process of its own for each concurrent trial, also when there is one: a trial that crashes or is killed for memory
takes nothing with it, and the driver needs no torch. They are started as `python -m`, not by `multiprocessing`, so
that a script that calls `epsearch.run` needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from epsearch.config import StudyConfig
from epsearch.errors import StudyError
from epsearch.studyfile import without_storage


class WorkerDied(Exception):
    """A worker's process ended without an answer; the text says how and where its log is."""


class Worker:
    """One worker process; what the code in it prints goes to `log`."""

    def __init__(self, config: StudyConfig, log: Path) -> None:
        self.log = log
        self.ready = False
        self.connection, theirs = multiprocessing.Pipe()
        log.parent.mkdir(exist_ok=True)
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "epsearch.engines.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the driver, which ends its workers in order.
                start_new_session=True,
                env={**without_storage(os.environ), "PYTHONUNBUFFERED": "1"},
            )
        self.send(config.without_storage())

    def send(self, message: Any) -> None:
        """Send a message; that the worker is dead is found when it is received from."""
        with contextlib.suppress(ConnectionError):
            self.connection.send(message)

    def receive(self) -> tuple[Any, ...]:
        """The worker's next message.

        Raises:
            WorkerDied: its process ended.
            UserError, StudyError: that the worker met.
        """
        try:
            message: tuple[Any, ...] = self.connection.recv()
        except (EOFError, ConnectionError):
            raise WorkerDied(self._death()) from None
        if message[0] == "error":
            raise message[1]
        self.ready = self.ready or message[0] == "ready"
        return message

    def call(self, *task: Any) -> Any:
        """Carry out one task and wait for its result."""
        try:
            while not self.ready:
                self.receive()
            self.send(task)
            return self.receive()[1]
        except WorkerDied as error:
            raise StudyError(str(error)) from None
        except StudyError as error:
            raise StudyError(f"{error} (log: {self.log})") from None

    def close(self) -> None:
        """End the process at once."""
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def _death(self) -> str:
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"a worker process {how}{hint}; its log is {self.log}"


class Pool:
    """Up to `size` workers, started when they are needed."""

    def __init__(self, config: StudyConfig, size: int, logs: Path) -> None:
        self._config, self._size, self._logs = config, size, logs
        self._workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()

    @property
    def first(self) -> Worker:
        """A worker for what comes before the trials."""
        return self.workers(1)[0]

    def workers(self, wanted: int) -> list[Worker]:
        """At least `wanted` workers, though never more than the pool's size; missing ones are started."""
        while len(self._workers) < min(wanted, self._size):
            log = self._logs / f"worker-{len(self._workers)}.log"
            self._workers.append(Worker(self._config, log))
        return self._workers

    def replace(self, worker: Worker) -> Worker:
        """Start a new worker in the place of a dead one."""
        worker.close()
        new = Worker(self._config, worker.log)
        self._workers[self._workers.index(worker)] = new
        return new
