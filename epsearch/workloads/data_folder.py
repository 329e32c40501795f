"""Where datasets are kept, and how processes that start together take turns there. Loads no torch."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

DATA_VARIABLE = "EPSEARCH_DATA"
"""Environment variable that names the folder of the datasets."""


def own_folder() -> Path:
    """~/.cache/epsearch: for data unless EPSEARCH_DATA is set, and for what cannot be written there."""
    return Path.home() / ".cache" / "epsearch"


def data_folder() -> Path:
    """Where datasets are kept: EPSEARCH_DATA, or ~/.cache/epsearch."""
    return Path(os.environ.get(DATA_VARIABLE) or own_folder()).expanduser().resolve()


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Workers start together: only one of them downloads or decodes, the others find it done.

    Not to be nested for the same folder: the second would wait for the first.
    """
    with contextlib.ExitStack() as held:
        # A folder that cannot be written or locked needs no turns: nothing will be put into it.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((folder / ".epsearch.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
