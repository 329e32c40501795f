"""The environment variables that epsearch reads."""

from __future__ import annotations

from collections.abc import Mapping

STORAGE_VARIABLE = "EPSEARCH_STORAGE"
"""Environment variable that overrides `engine.storage`: where a password should not stand in a file."""


def without_storage(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that need not know the password."""
    return {name: value for name, value in environment.items() if name != STORAGE_VARIABLE}
