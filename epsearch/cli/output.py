"""Output that is closed, on a full disk, or not UTF-8: a study continues without it."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO

_PLAIN = {"ε": "eps", "α": "lr", "β": "beta", "ẑ": "z", "₁": "1", "₂": "2", "×": "x", "±": "+-", "…": "...", "·": "-"}
"""ASCII for the symbols in messages, for output that is not UTF-8."""


def prepare() -> None:
    """Open standard streams that were closed, and let them write any text."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # Otherwise the next file opened, such as the study's database, would get this number.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - never closed
    codecs.register_error("epsearch", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="epsearch")


def failure() -> OSError | None:
    """Flush standard output; the error if that fails, after which output is discarded, else None."""
    try:
        sys.stdout.flush()
    except OSError as error:
        give_up(sys.stdout)
        return error
    return None


def is_of_a_stream(error: OSError) -> bool:
    """Whether an error may come from writing to standard output: errors of other files have a file name."""
    return error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


def give_up(stream: TextIO) -> None:
    """Discard what `stream` has buffered and everything written to it later."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def complain(message: str) -> None:
    """Print a message to standard error, if that can be written."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        give_up(sys.stderr)


class Patient:
    """A text stream that discards what cannot be written instead of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, or discard it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        give_up(self._stream)
        if not isinstance(error, BrokenPipeError):
            complain(f"epsearch: standard output cannot be written ({error.strerror}); the study continues without it.")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    plain = (_PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(plain), error.end
