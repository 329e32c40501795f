"""What a Ray worker does: a trial as Ray Tune's Trainable, and the tasks that come before the trials.

Nothing a trial does is a failure to Ray: what the user's code raises, and what ends the study, are told to the driver
like any other result. So Ray's `max_failures` counts what it is for: processes and machines that die. A process that
must not train again ends itself, once the driver knows why.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ray
from ray import tune

from epsearch.core.errors import ProcessUnusable, StudyError, UserError
from epsearch.core.messages import one_line
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig

if TYPE_CHECKING:
    from epsearch.training.tasks import StudyTasks

TaskError = UserError | StudyError | ProcessUnusable
"""What is passed on to the driver instead of raised."""

MESSAGE = "epsearch"
"""The key of a Tune result that holds the `Message`."""

BATCH_SECONDS = 0.1
"""Without a pruner nobody waits for an answer: what is reported within so many seconds goes to the driver at once."""

POLL_SECONDS = 0.25
"""How often a trial looks whether it has a new checkpoint to hand over."""

LOG_BYTES = 1 << 16
"""Of what a trial prints between two messages, the end is kept."""


@dataclass
class Message:
    """What the driver hears of a trial: each step of Tune has one."""

    first: int = 0
    """How many reports this try of the trial made before these."""
    reports: list[tuple[int, float]] = field(default_factory=list)
    """(seed's index, metric) of each epoch."""
    ending: Ending | None = None
    """How the trial ended, in its last message."""
    error: UserError | StudyError | None = None
    """What ends the study, as every trial would meet it."""
    unusable: str | None = None
    """Why the process ends next: the trial died, and continues in another one."""
    checkpoint: Any = None
    """Reference to the bytes of a new checkpoint."""
    printed: str = ""
    """What the user's code printed, tracebacks included."""


class RayTrial(tune.Trainable):  # type: ignore[misc]
    """One trial after another in one process, which keeps what it has loaded.

    The driver makes a subclass for the study; `config` has the trial's `cell` and `number`, and the `checkpoint` from
    which it continues.
    """

    study: ClassVar[StudyConfig]

    def setup(self, config: dict[str, Any]) -> None:
        """Begin the first trial."""
        self._trial_thread = _TrialThread(self.study, config, Path(self.logdir))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin the next one; the one before it may have been stopped."""
        self._trial_thread.end()
        self._trial_thread = _TrialThread(self.study, new_config, Path(self.logdir))
        return True

    def step(self) -> dict[str, Any]:
        """Train until there is something to tell."""
        if self._trial_thread.unusable:
            os._exit(1)
        return {MESSAGE: self._trial_thread.next_message()}

    def cleanup(self) -> None:
        """Stop training."""
        self._trial_thread.end()


class _TrialThread:
    """One try of a trial, in a thread that waits at each report where a pruner or scheduler is to be asked."""

    def __init__(self, study: StudyConfig, config: dict[str, Any], folder: Path) -> None:
        self._study, self._cell, self._number = study, Cell.model_validate(config["cell"]), config["number"]
        self._asks = study.engine.pruner != "none"
        # The trial's own, below what Ray keeps of its session on this machine.
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
        """What has happened since the last one; waits until something has."""
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
                # A checkpoint does not wait for the next report: an epoch may take an hour, and its machine be lost.
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
        message.printed = _captured_output().take()
        return message

    def end(self) -> None:
        """Let the training end at its next report, and wait for that."""
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
        event = _catch_errors(self._run_trial)
        self._end_child()
        self._events.put(event)

    def _run_trial(self) -> Ending:
        tasks = study_tasks(self._study)
        if self._study.engine.trial_timeout is not None:
            self._events.put(None)  # from here on the driver counts the time
        (ending,) = tasks.trials([self._cell], self._report, [self._file], numbers=[self._number])
        return ending

    def _report(self, _: int, seed_index: int, value: float) -> bool:
        self._end_child()
        if self._ended:
            return False
        self._events.put((seed_index, value))
        return self._answers.get() if self._asks else True

    def _end_child(self) -> None:
        """End a process that the user's code has forked and let return: it has no driver."""
        if os.getpid() != self._process:
            os._exit(0)

    def _version(self) -> tuple[int, int] | None:
        with contextlib.suppress(FileNotFoundError):
            found = self._file.stat()
            # It is replaced as a whole.
            return found.st_ino, found.st_mtime_ns
        return None


def run_task(study: StudyConfig, task: str) -> tuple[Any, str]:
    """What `task` of the study's tasks returns, or the trouble it met; and what was printed."""

    def work() -> Any:
        tasks = study_tasks(study)
        return tasks.probe() if task == "probe" else tasks.batches_per_epoch()

    process = os.getpid()
    result = _catch_errors(work)
    if os.getpid() != process:  # a child that the user's code forked
        os._exit(0)
    return result, _captured_output().take()


def _catch_errors(work: Callable[[], Any]) -> Any:
    """What `work` returns, or the trouble it met.

    What the tasks raise is sorted. Anything else, as of an import that fails, would be lost in a thread of Ray's.
    """
    try:
        _captured_output()
        return work()
    except ProcessUnusable as error:
        return ProcessUnusable(str(error))
    except (UserError, StudyError) as error:
        # Not the exception itself: the driver cannot unpickle a class of the user's.
        return (UserError if isinstance(error, UserError) else StudyError)(str(error))
    except BaseException as error:
        traceback.print_exc()
        return StudyError(f"{type(error).__name__}: {one_line(error)}")


_loaded: tuple[StudyConfig, StudyTasks] | None = None


def study_tasks(study: StudyConfig) -> StudyTasks:
    """The study's tasks in this process: its workload is loaded once, and serves every trial that comes here.

    Raises:
        UserError: the device, the user's module or the dataset is not there.
    """
    global _loaded  # noqa: PLW0603 - what Ray keeps from one trial to the next is the process
    if _loaded is None or _loaded[0] != study:
        from epsearch.training.process import prepare_process

        prepare_process(study.training.threads)
        from epsearch.training.tasks import StudyTasks

        _loaded = (study, StudyTasks(_with_absolute_folder(study)))
    return _loaded[1]


def _with_absolute_folder(study: StudyConfig) -> StudyConfig:
    """The study with its folder's whole path: where Ray unpacks what it brings is the process's working folder."""
    workload = study.workload.model_copy(update={"folder": str(study.folder.resolve())})
    return study.model_copy(update={"workload": workload})


class _OutputCapture(io.TextIOBase):
    """Takes down what is printed, besides passing it on to Ray's own log of the worker."""

    def __init__(self, passed_on: Any) -> None:
        self._passed_on, self._text, self._lock = passed_on, "", threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            self._text = (self._text + text)[-LOG_BYTES:]
        self._passed_on.write(text)
        return len(text)

    def flush(self) -> None:
        self._passed_on.flush()

    def fileno(self) -> int:
        return int(self._passed_on.fileno())

    def take(self) -> str:
        """What was printed since the last time."""
        with self._lock:
            taken, self._text = self._text, ""
        return taken


def _captured_output() -> _OutputCapture:
    """The process's standard output and error, taken down from the first call on."""
    if not isinstance(sys.stderr, _OutputCapture):
        sys.stdout = sys.stderr = _OutputCapture(sys.stderr)
    return sys.stderr
