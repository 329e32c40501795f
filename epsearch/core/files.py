"""Write files atomically."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write `content` to `path` atomically: a full disk or a kill leaves the old file unchanged.

    Large content can be a function that writes to the open file. Characters of a text that UTF-8 cannot encode, such
    as surrogates in file names, become question marks.

    Raises:
        OSError: the file could not be written; no temporary file is left. Errors of the function pass through.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content if isinstance(content, bytes) else content.encode(errors="replace"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
