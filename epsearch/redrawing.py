"""Keeps the report and Optuna's dashboard up to date while trials end, in a process of its own.

Drawing takes seconds and three times the driver's memory: the driver does neither. `python -m epsearch.redrawing` reads
the study and its run directory from its standard input, draws once, and ends with the driver if that is sooner.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from epsearch.records.listener import Listener, Relay
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory

if TYPE_CHECKING:
    from typing import Self

REDRAW_SECONDS = 60.0
"""The report of a running study is drawn again this often, at most."""


class Redrawing(Relay):
    """Passes on what it hears, and has the report drawn again when a trial has ended and it is time.

    At most a twentieth of the time is spent on it, however many trials there are. What keeps the report from being
    drawn now (no value yet, a full disk) is reported at the end, if it lasts.
    """

    def __init__(self, listener: Listener, config: StudyConfig, place: RunDirectory) -> None:
        super().__init__(listener)
        # Over a pipe: the storage's password belongs neither to a command line nor to an environment.
        self._study = pickle.dumps((config, place.path))
        self._drawing: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._next = time.monotonic() + REDRAW_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End a drawing that is under way: the last report is about to be drawn."""
        if self._drawing is not None:
            self._drawing.kill()
            self._close(self._drawing)

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """Draw again, if that was a while ago."""
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
                # Ctrl-C is for the driver.
                start_new_session=True,
            )
            assert drawing.stdin is not None
            drawing.stdin.write(self._study)
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
    """Draw the report of the study that comes over the standard input."""
    os.nice(10)  # training comes first
    config, path = pickle.load(sys.stdin.buffer)
    place = RunDirectory(path)
    threading.Thread(target=_end_with_driver, daemon=True).start()

    from epsearch.pipeline import SILENT, report_stage
    from epsearch.search.storage import open_storage

    report_stage(config, open_storage(place.storage(config)), place, SILENT, redraw=True)


def _end_with_driver() -> None:
    """The driver holds the other end of the pipe and writes no more to it."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
