"""Log files that the driver writes: the output of Ray's workers, and the log of the inline engine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from epsearch.engines.local.worker import KEPT_BYTES, LOG_BYTES


class Logs:
    """Log files in the run directory, each limited to a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, text: str, trial: int | None = None) -> None:
        """Append a trial's output to `<name>.log`. A full disk loses the output, not the study."""
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
