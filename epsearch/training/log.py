"""A worker's log, written to standard error; safe for any text in an exception."""

from __future__ import annotations

import contextlib
import sys
import traceback

from epsearch.core.messages import one_line

LONGEST = 400
"""Number of characters of an exception that a message quotes; the traceback in the log has the rest."""


def log(text: str) -> None:
    """Write a line. A log that cannot be written, for example on a full disk, does not end a trial."""
    with contextlib.suppress(OSError, ValueError):
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
