"""Capture what a Ray worker prints, so that the driver can write it to the run directory."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any

LIMIT = 1 << 16
"""Characters kept between two messages; older output is dropped."""


class OutputCapture(io.TextIOBase):
    """Keeps what is printed, and passes it on to Ray's own log of the worker."""

    def __init__(self, passed_on: Any) -> None:
        self._passed_on, self._text, self._lock = passed_on, "", threading.Lock()

    def write(self, text: str) -> int:
        """Keep the text and pass it on."""
        with self._lock:
            self._text = (self._text + text)[-LIMIT:]
        self._passed_on.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush Ray's log."""
        self._passed_on.flush()

    def fileno(self) -> int:
        """The file descriptor of Ray's log."""
        return int(self._passed_on.fileno())

    def take(self) -> str:
        """What was printed since the last call."""
        with self._lock:
            taken, self._text = self._text, ""
        return taken


def captured_output() -> OutputCapture:
    """This process's standard output and error, captured from the first call on."""
    if not isinstance(sys.stderr, OutputCapture):
        sys.stdout = sys.stderr = OutputCapture(sys.stderr)
    return sys.stderr
