"""What Ray's workers print, in files of the run directory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from epsearch.engines.worker import cut


class Logs:
    """What workers print, in files of the run directory, each of some megabytes at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, text: str) -> None:
        """Add to the file of this name. A disk that is full costs the log, not the study."""
        if text:
            with contextlib.suppress(OSError):
                self._folder.mkdir(exist_ok=True)
                with (self._folder / f"{name}.log").open("a+b") as file:
                    file.write(text.encode(errors="replace"))
                    file.flush()
                    cut(file.fileno())
