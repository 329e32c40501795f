"""Keeps the report and Optuna's dashboard up to date while trials run, in a separate process.

Drawing takes seconds and three times the driver's memory. `python -m epsearch.redrawing` reads what to call from its
standard input, calls it once, and exits early if the driver does.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from epsearch.records.listener import Listener, Relay
from epsearch.records.trial import Cell, Ending

if TYPE_CHECKING:
    from typing import Self

REDRAW_SECONDS = 60.0
"""Shortest time between two redraws of a running study's report."""


class Redrawing(Relay):
    """Relays to `listener`, and runs `draw` in another process from time to time when a trial ends.

    Redrawing takes at most a twentieth of the time, however many trials there are. Its errors are ignored (no value
    yet, a full disk): the last report is drawn by the driver, which raises them if they persist.

    Args:
        listener: Notified of everything.
        draw: A picklable function without arguments.
    """

    def __init__(self, listener: Listener, draw: Callable[[], object]) -> None:
        super().__init__(listener)
        # Sent over a pipe: it has the storage's password, which command lines and environments would expose.
        self._draw = pickle.dumps(draw)
        self._drawing: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._next = time.monotonic() + REDRAW_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop a redraw in progress: the driver is about to draw the last report."""
        if self._drawing is not None:
            self._drawing.kill()
            self._close(self._drawing)

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """Start a redraw if the last one was long enough ago."""
        super().trial_ended(optimizer, number, cell, ending, value)
        now = time.monotonic()
        if self._drawing is not None and self._drawing.poll() is not None:
            self._close(self._drawing)
            self._drawing = None
            self._next = now + max(REDRAW_SECONDS, 20 * (now - self._began))
        if self._drawing is None and now >= self._next:
            self._drawing, self._began = self._start(), now

    def _start(self) -> subprocess.Popen[bytes] | None:
        try:
            drawing = subprocess.Popen(
                [sys.executable, "-m", "epsearch.redrawing"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C interrupts only the driver.
                start_new_session=True,
            )
            assert drawing.stdin is not None
            drawing.stdin.write(self._draw)
            drawing.stdin.flush()
        except OSError:
            return None
        return drawing

    @staticmethod
    def _close(drawing: subprocess.Popen[bytes]) -> None:
        assert drawing.stdin is not None
        drawing.stdin.close()
        drawing.wait()


def main() -> None:
    """Call the function that comes over the standard input."""
    os.nice(10)  # training comes first
    draw = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    draw()


def _end_with_driver() -> None:
    """Exit when the driver closes its end of the pipe, as it does when it dies."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
