"""A trial as Ray Tune's Trainable.

No error in a trial is a failure to Ray: errors go to the driver in a message, like results. So Ray's `max_failures`
counts only processes and machines that die. A process that must not train again reports the reason, then ends itself.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import ray
from ray import tune

from epsearch.core.errors import ProcessUnusable, StudyError, UserError
from epsearch.engines.ray.output import captured_output
from epsearch.engines.ray.worker_tasks import TaskError, catch_errors, study_tasks
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig

MESSAGE = "epsearch"
"""The key of a Tune result that holds the `Message`."""

BATCH_SECONDS = 0.1
"""Without a pruner, reports within this time are sent in one message."""

POLL_SECONDS = 0.25
"""Interval for checking whether a trial has written a new checkpoint."""


@dataclass
class Message:
    """One step of Tune: what a trial sends to the driver."""

    first: int = 0
    """Number of reports that this attempt of the trial sent before these."""
    reports: list[tuple[int, float]] = field(default_factory=list)
    """(seed's index, metric) of each epoch."""
    ending: Ending | None = None
    """How the trial ended, in its last message."""
    error: UserError | StudyError | None = None
    """An error that ends the study, because every trial would meet it."""
    unusable: str | None = None
    """Why the process ends next; the trial continues in another process."""
    checkpoint: Any = None
    """Reference to the bytes of a new checkpoint."""
    printed: str = ""
    """Output of the user's code, including tracebacks."""


class RayTrial(tune.Trainable):  # type: ignore[misc]
    """Runs one trial after another in one process, which keeps its loaded workload.

    The driver creates a subclass for the study. `config` has the trial's `cell`, `number` and `checkpoint` to resume.
    """

    study: ClassVar[StudyConfig]

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first trial."""
        self._trial_thread = _TrialThread(self.study, config, Path(self.logdir))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial; the previous one may have been stopped."""
        self._trial_thread.end()
        self._trial_thread = _TrialThread(self.study, new_config, Path(self.logdir))
        return True

    def step(self) -> dict[str, Any]:
        """Train until there is something to report."""
        if self._trial_thread.unusable:
            os._exit(1)
        return {MESSAGE: self._trial_thread.next_message()}

    def cleanup(self) -> None:
        """Stop training."""
        self._trial_thread.end()


class _TrialThread:
    """One attempt of a trial, in a thread. With a pruner or scheduler, it waits after each report for the decision."""

    def __init__(self, study: StudyConfig, config: dict[str, Any], folder: Path) -> None:
        self._study, self._cell, self._number = study, Cell.model_validate(config["cell"]), config["number"]
        self._asks = study.engine.pruner != "none"
        # In the trial's own folder of Ray's session directory.
        self._file = folder / "checkpoint.pt"
        if (kept := config["checkpoint"]) is not None:
            self._file.write_bytes(ray.get(kept))
        self._sent_version = self._version()
        self._events: queue.SimpleQueue[tuple[int, float] | Ending | TaskError | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._waiting = self._ended = False
        self._sent = 0
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self.unusable = False
        """Whether this process must end."""

    def next_message(self) -> Message:
        """The events since the last message; waits for the first one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._train, daemon=True)
            self._thread.start()
        elif self._waiting:
            self._answer(True)
        message = Message(first=self._sent)
        began = time.monotonic()
        while not (message.ending or message.error or self.unusable or self._waiting):
            try:
                event = self._events.get(timeout=BATCH_SECONDS if message.reports else POLL_SECONDS)
            except queue.Empty:
                # Send a checkpoint at once: the next epoch may take an hour, and the machine may fail.
                if message.reports or self._version() != self._sent_version:
                    break
                continue
            if event is None:
                break
            if isinstance(event, Ending):
                message.ending = event
            elif isinstance(event, ProcessUnusable):
                message.unusable, self.unusable = str(event), True
            elif isinstance(event, Exception):
                message.error = event
            else:
                message.reports.append(event)
                self._waiting = self._asks
                if time.monotonic() - began > BATCH_SECONDS:
                    break
        self._sent += len(message.reports)
        if not message.ending and (version := self._version()) != self._sent_version:
            self._sent_version = version
            message.checkpoint = ray.put(self._file.read_bytes())
        message.printed = captured_output().take()
        return message

    def end(self) -> None:
        """Stop training at its next report, and wait for it."""
        self._ended = True
        if self._waiting:
            self._answer(False)
        if self._thread is not None:
            self._thread.join()
        self._file.unlink(missing_ok=True)

    def _answer(self, go_on: bool) -> None:
        self._waiting = False
        self._answers.put(go_on)

    def _train(self) -> None:
        event = catch_errors(self._run_trial)
        self._end_child()
        self._events.put(event)

    def _run_trial(self) -> Ending:
        tasks = study_tasks(self._study)
        if self._study.engine.trial_timeout is not None:
            self._events.put(None)  # the driver starts the trial's clock
        (ending,) = tasks.trials([self._cell], self._report, [self._file], numbers=[self._number])
        return ending

    def _report(self, _: int, seed_index: int, value: float) -> bool:
        self._end_child()
        if self._ended:
            return False
        self._events.put((seed_index, value))
        return self._answers.get() if self._asks else True

    def _end_child(self) -> None:
        """Exit in a process that the user's code forked: it must not report."""
        if os.getpid() != self._process:
            os._exit(0)

    def _version(self) -> tuple[int, int] | None:
        with contextlib.suppress(FileNotFoundError):
            found = self._file.stat()
            # The file is replaced atomically.
            return found.st_ino, found.st_mtime_ns
        return None
