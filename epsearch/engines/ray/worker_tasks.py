"""The study's tasks in a Ray worker process: loaded once, and their errors as values."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from epsearch.core.errors import ProcessUnusable, StudyError, UserError
from epsearch.core.messages import one_line
from epsearch.engines.ray.output import captured_output
from epsearch.study.config import StudyConfig

if TYPE_CHECKING:
    from epsearch.training.tasks import StudyTasks

TaskError = UserError | StudyError | ProcessUnusable
"""Errors that are sent to the driver instead of raised."""


def run_task(study: StudyConfig, task: str, *arguments: Any) -> tuple[Any, str]:
    """The result of a task, or its error; and what it printed."""

    process = os.getpid()
    result = catch_errors(lambda: study_tasks(study).call(task, *arguments))
    if os.getpid() != process:  # a child that the user's code forked
        os._exit(0)
    return result, captured_output().take()


def catch_errors(work: Callable[[], Any]) -> Any:
    """The result of `work`, or its error.

    The tasks raise only these kinds of errors. Any other, such as a failed import, would be lost in Ray's thread.
    """
    try:
        captured_output()
        return work()
    except ProcessUnusable as error:
        return ProcessUnusable(str(error))
    except (UserError, StudyError) as error:
        # Not the exception itself: the driver cannot unpickle the user's classes.
        return (UserError if isinstance(error, UserError) else StudyError)(str(error))
    except BaseException as error:
        traceback.print_exc()
        return StudyError(f"{type(error).__name__}: {one_line(error)}")


_loaded: tuple[StudyConfig, StudyTasks] | None = None


def study_tasks(study: StudyConfig) -> StudyTasks:
    """The study's tasks in this process, whose workload is loaded once for all trials.

    Raises:
        UserError: the device, the user's module or the dataset is missing.
    """
    global _loaded  # noqa: PLW0603 - what Ray keeps from one trial to the next is the process
    if _loaded is None or _loaded[0] != study:
        from epsearch.training.process import prepare_process

        prepare_process(study.training.threads)
        from epsearch.training.tasks import StudyTasks

        _loaded = (study, StudyTasks(_with_absolute_folder(study)))
    return _loaded[1]


def _with_absolute_folder(study: StudyConfig) -> StudyConfig:
    """The study with an absolute folder: Ray unpacks the code that it brings into the process's working directory."""
    workload = study.workload.model_copy(update={"folder": str(study.folder.resolve())})
    return study.model_copy(update={"workload": workload})
