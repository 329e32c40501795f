"""Write a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write `content` to `path` whole or not at all: a full disk or a kill leaves the old file as it was.

    Content too large to be held twice is a function that writes it to the open file. Of a text, what UTF-8 cannot
    hold (a file name in an error message may be any bytes) becomes a question mark.

    Raises:
        OSError: the file could not be written; nothing is left behind. What the function raises.
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
