"""Real datasets for the tests, where they are."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from epsearch.errors import UserError
from epsearch.workloads.data_folder import data_folder
from epsearch.workloads.vision.data import ImageData


def there(load: Callable[[], ImageData], place: str) -> ImageData:
    """The dataset; the test is skipped where the data folder has no `place`, unless CI promises that it has."""
    if not (data_folder() / place).exists() and not os.environ.get("CI"):
        pytest.skip(f"no {place} in {data_folder()}")
    try:
        return load()
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
