"""The training log: standard error, or the function that `log_to` names."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator

from epsearch.core.messages import one_line

LONGEST = 400
"""Number of characters of an exception that a message quotes; the traceback in the log has the rest."""

_write: Callable[[str], object] | None = None


@contextlib.contextmanager
def log_to(write: Callable[[str], object]) -> Iterator[None]:
    """Within, log lines go to `write`, and to standard error only where that is a terminal."""
    global _write  # noqa: PLW0603 - one log per process
    before, _write = _write, write
    try:
        yield
    finally:
        _write = before


def log(text: str) -> None:
    """Write a line. A log that cannot be written, for example on a full disk, does not end a trial."""
    with contextlib.suppress(OSError, ValueError):
        if _write is not None:
            _write(_writable(text) + "\n")
        if _write is None or sys.stderr.isatty():
            print(_writable(text), file=sys.stderr, flush=True)


def log_error(error: BaseException) -> None:
    """Write the traceback."""
    log("".join(traceback.format_exception(error)).rstrip())


def quoted(error: BaseException) -> str:
    """`ValueError: text`, shortened for a message."""
    return one_line(described(error), LONGEST)


def described(error: BaseException) -> str:
    """`ValueError: text` in full, as one line that can be written to any file."""
    try:
        text = _writable(" ".join(str(error).split()))
    except Exception:
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _writable(text: str) -> str:
    """Escape lone surrogates, as in file names that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()
