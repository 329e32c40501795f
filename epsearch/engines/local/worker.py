"""The process that trains: `python -m epsearch.engines.local.worker FD`, where FD is its end of the driver's pipe.

The driver sends the study, then tasks: (number, "ready"), (number, "probe"), (number, "batches") or (number, "trials",
cells, checkpoint files, trial numbers). Every message back starts with the process id and the task's number, which is 0
while the study is loaded, followed by one of: ("ready",), once; ("result", value); ("error", exception);
("unusable", reason, endings), after which the process ends; ("report", index, seed_index, value); ("steps", number)
while it probes or tests learning rates. With a pruner, the driver answers each report with whether to continue.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from epsearch.core.errors import DriverGone, ProcessUnusable, StudyError, UserError
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig

LOG_BYTES, KEPT_BYTES = 4 << 20, 1 << 20
"""A log longer than the first is cut to its last part, of the second size."""

STEPS_SECONDS = 0.1
"""Interval between two messages with the number of steps."""

WATCH_SECONDS = 0.5
"""Interval for checking the driver and the log."""


def main() -> None:
    """Serve one driver until it closes the pipe or dies."""
    pipe, log = _Pipe(Connection(int(sys.argv[1]))), Log(sys.stdout.fileno())
    threading.Thread(target=_watch, args=(os.getppid(), log), daemon=True).start()
    with contextlib.suppress(DriverGone):
        _serve(pipe, log)
    os._exit(0)


class _Pipe:
    """The worker's end of the pipe, closed to the processes that the user's code forks.

    A forked child that returns from the user's code would otherwise serve the driver too.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection, self._process, self._task = connection, os.getpid(), 0
        # A child can neither write to the pipe nor keep it open after this process dies.
        os.register_at_fork(after_in_child=connection.close)
        os.set_inheritable(connection.fileno(), False)

    def send(self, *message: Any) -> None:
        """Send the driver a message."""
        self._end_child()
        try:
            self._connection.send((self._process, self._task, *message))
        except OSError as error:
            raise DriverGone from error

    def receive(self) -> Any:
        """The driver's next message."""
        self._end_child()
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise DriverGone from error

    def next_task(self) -> Any:
        """The name and arguments of the driver's next task."""
        self._task, *task = self.receive()
        return task

    def _end_child(self) -> None:
        if os.getpid() != self._process:
            os._exit(0)


def _serve(pipe: _Pipe, log: Log) -> None:
    config = pipe.receive()
    from epsearch.training.process import prepare_process

    prepare_process(config.training.threads)
    worker = _Worker(pipe, log, config)
    _answer(pipe, "ready", worker.load)
    while True:
        name, *arguments = pipe.next_task()
        _answer(pipe, "result", getattr(worker, name), *arguments)


def _answer(pipe: _Pipe, kind: str, work: Callable[..., Any], *arguments: Any) -> None:
    """Send the result of `work`, or its error."""
    try:
        message: tuple[Any, ...] = (kind, work(*arguments))
    except ProcessUnusable as error:
        message = ("unusable", str(error), error.endings)
    except (UserError, StudyError) as error:
        # Not the exception itself: the driver cannot unpickle the user's classes.
        message = ("error", (UserError if isinstance(error, UserError) else StudyError)(str(error)))
    pipe.send(*message)
    if message[0] == "unusable":
        os._exit(1)


class _Worker:
    """The tasks, by name."""

    def __init__(self, pipe: _Pipe, log: Log, config: StudyConfig) -> None:
        self._pipe, self._log, self._config = pipe, log, config
        self._asks = config.engine.pruner != "none"

    def load(self) -> None:
        """Load the study."""
        from epsearch.training.tasks import StudyTasks

        self._tasks = StudyTasks(self._config)

    def ready(self) -> None:
        """Do nothing: the study is loaded."""

    def probe(self) -> Any:
        """Probe."""
        with self._counted_steps():
            return self._tasks.probe()

    def lr_test(self, *arguments: Any) -> Any:
        """Test learning rates."""
        with self._counted_steps():
            return self._tasks.lr_test(*arguments)

    def batches(self) -> int:
        """Count the batches of an epoch."""
        return self._tasks.batches_per_epoch()

    def trials(self, cells: Sequence[Cell], checkpoints: Sequence[Path | None], numbers: Sequence[int]) -> list[Ending]:
        """Train trials together."""
        self._log.trials = numbers
        return self._tasks.trials(cells, self._report, checkpoints, numbers=numbers)

    @contextlib.contextmanager
    def _counted_steps(self) -> Iterator[None]:
        """Send how many steps optimizers have taken, from time to time."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        process, steps, sent = os.getpid(), 0, time.monotonic()

        def count(*_: Any) -> None:
            nonlocal steps, sent
            steps += 1
            # A process that the user's code forked may train too.
            if time.monotonic() - sent >= STEPS_SECONDS and os.getpid() == process:
                sent = time.monotonic()
                self._pipe.send("steps", steps)

        hook = register_optimizer_step_post_hook(count)
        try:
            yield
        finally:
            hook.remove()

    def _report(self, index: int, seed_index: int, value: float) -> bool:
        self._pipe.send("report", index, seed_index, value)
        # Without a pruner, training continues while the driver writes to its storage.
        return bool(self._pipe.receive()) if self._asks else True


def _watch(parent: int, log: Log) -> None:
    """Exit soon after the driver dies, and keep the log from filling the disk."""
    while os.getppid() == parent:
        with contextlib.suppress(OSError):
            log.cut()
        time.sleep(WATCH_SECONDS)
    os._exit(1)


class Log:
    """The process's output, in a file open for reading and appending."""

    def __init__(self, descriptor: int) -> None:
        # A duplicate: the user's code may redirect standard output.
        self._descriptor = os.dup(descriptor)
        self.trials: Sequence[int] = ()
        """The numbers of the trials that are training."""

    def cut(self) -> None:
        """Cut a log that is too long to its last part."""
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size <= LOG_BYTES:
            return
        end = os.pread(self._descriptor, KEPT_BYTES, found.st_size - KEPT_BYTES)
        os.ftruncate(self._descriptor, 0)
        of = f" of trial {', '.join(map(str, self.trials))}" if self.trials else ""
        os.write(self._descriptor, f"[earlier output is dropped; the end{of} follows]\n".encode())
        os.write(self._descriptor, end[end.find(b"\n") + 1 :])


if __name__ == "__main__":
    main()
