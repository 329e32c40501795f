"""Standard output that is closed, full, gone, or not UTF-8: a study goes on without it."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO

_PLAIN = {"ε": "eps", "α": "lr", "β": "beta", "ẑ": "z", "₁": "1", "₂": "2", "×": "x", "±": "+-", "…": "...", "·": "-"}
"""How the letters of messages are written where the output has no room for them."""


def prepare() -> None:
    """Make the standard streams safe to use: open where they were closed, and able to write any text."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened, such as the study's database, would have its number.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
    codecs.register_error("epsearch", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="epsearch")


def failure() -> OSError | None:
    """What keeps standard output from being written, which is then given up; None if nothing does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        give_up(sys.stdout)
        return error
    return None


def is_of_a_stream(error: OSError) -> bool:
    """Whether it can come from writing to standard output: what concerns a file of ours names it."""
    return error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)


def give_up(stream: TextIO) -> None:
    """Let what is written to `stream`, and what it still holds, go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def complain(message: str) -> None:
    """One message on standard error, if that can be written."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        give_up(sys.stderr)


class Patient:
    """A text stream whose reader, terminal or disk may go away: what is written then is lost, and nothing raised."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write it, or lose it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Send on what was written."""
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
