"""The environment variables that epsearch reads."""

from __future__ import annotations

from collections.abc import Mapping

STORAGE_VARIABLE = "EPSEARCH_STORAGE"
"""Overrides `engine.storage`, to keep a password out of files."""


def without_storage(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the storage's URL, to keep its password out of worker processes."""
    return {name: value for name, value in environment.items() if name != STORAGE_VARIABLE}
