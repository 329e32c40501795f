"""The environment variables that epsearch reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

STORAGE_VARIABLE = "EPSEARCH_STORAGE"
"""Overrides `engine.storage`, to keep a password out of files."""


@contextmanager
def no_storage_variable() -> Iterator[None]:
    """Within, EPSEARCH_STORAGE is unset: child processes and the user's code must not see its password."""
    storage = os.environ.pop(STORAGE_VARIABLE, None)
    try:
        yield
    finally:
        if storage is not None:
            os.environ[STORAGE_VARIABLE] = storage
