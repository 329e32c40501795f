"""The log of a worker: standard error, which shows whatever an exception's text holds."""

from __future__ import annotations

import contextlib
import sys
import traceback

from epsearch.core.messages import one_line

LONGEST = 400
"""Characters of an exception that a message quotes; its traceback in the log has the rest."""


def log(text: str) -> None:
    """Write a line. A log that cannot be written, as on a full disk, costs no trial."""
    with contextlib.suppress(OSError, ValueError):
        print(_writable(text), file=sys.stderr, flush=True)


def log_error(error: BaseException) -> None:
    """Write the traceback."""
    log("".join(traceback.format_exception(error)).rstrip())


def quoted(error: BaseException) -> str:
    """`ValueError: why` for a message."""
    return one_line(described(error), LONGEST)


def described(error: BaseException) -> str:
    """`ValueError: why`, all of it, in one line that any file can hold."""
    try:
        text = _writable(" ".join(str(error).split()))
    except Exception:
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _writable(text: str) -> str:
    """Without lone surrogates, as of a file name in other bytes than UTF-8."""
    return text.encode(errors="backslashreplace").decode()
