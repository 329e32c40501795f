"""The data folder, and a lock so that only one process at a time writes to it. Loads no torch."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

DATA_VARIABLE = "EPSEARCH_DATA"
"""Environment variable for the data folder."""


def own_folder() -> Path:
    """~/.cache/epsearch: the default data folder, and the fallback if EPSEARCH_DATA is read-only."""
    return Path.home() / ".cache" / "epsearch"


def data_folder() -> Path:
    """The data folder: EPSEARCH_DATA, or ~/.cache/epsearch."""
    return Path(os.environ.get(DATA_VARIABLE) or own_folder()).expanduser().resolve()


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lock `folder` among processes: one worker downloads or decodes, the others wait and find the result.

    Do not nest for the same folder: the inner call would wait forever.
    """
    with contextlib.ExitStack() as held:
        # A folder that cannot be written or locked needs no lock: nothing will be written to it.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((folder / ".epsearch.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
