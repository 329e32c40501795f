"""What Ray's workers print, in files of the run directory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from epsearch.engines.local.worker import KEPT_BYTES, LOG_BYTES


class Logs:
    """What workers print, in files of the run directory, each of some megabytes at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, text: str, trial: int | None = None) -> None:
        """Add what a trial printed to the file of this name. A disk that is full costs the log, not the study."""
        if not text:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            with (self._folder / f"{name}.log").open("a+b") as file:
                file.write(text.encode(errors="replace"))
                if file.tell() > LOG_BYTES:
                    file.seek(-KEPT_BYTES, os.SEEK_END)
                    end = file.read().partition(b"\n")[2]
                    file.truncate(0)
                    of = "" if trial is None else f" of trial {trial}"
                    file.write(f"[earlier output is dropped; the end{of} follows]\n".encode() + end)
