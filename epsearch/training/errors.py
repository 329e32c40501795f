"""Any exception of a training as one of the errors that the engines handle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from epsearch.core.errors import DriverGone, ProcessUnusable, StudyError, UserError
from epsearch.records.trial import Ending
from epsearch.training.faults import ends_process
from epsearch.training.log import log_error, quoted


class translated_errors:  # noqa: N801, a context manager used like a function
    """Turn exceptions raised inside into `StudyError` or `ProcessUnusable`, and log their tracebacks.

    `endings()` returns how the trials under way have ended so far, for `ProcessUnusable`. UserError, StudyError and
    DriverGone pass unchanged.

    Errors of the user's code must not reach the engine unchanged: an EOFError would look like a closed pipe, and a
    SystemExit would end the process silently. This is a class because StopIteration cannot pass through a generator.
    """

    def __init__(self, endings: Callable[[], Sequence[Ending | None]] = tuple) -> None:
        self._endings = endings

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None or isinstance(error, DriverGone):
            return
        if (reason := ends_process(error)) is not None:
            log_error(error)
            raise ProcessUnusable(reason, self._endings()) from error
        if not isinstance(error, UserError | StudyError):
            log_error(error)
            raise StudyError(quoted(error)) from error
