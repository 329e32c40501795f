"""What Ray's workers print, in files of the run directory."""

from __future__ import annotations

import contextlib
from pathlib import Path


class Logs:
    """What workers print, in files of the run directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, text: str) -> None:
        """Add to the file of this name. A disk that is full costs the log, not the study."""
        if text:
            with contextlib.suppress(OSError):
                self._folder.mkdir(exist_ok=True)
                with (self._folder / f"{name}.log").open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text)
