"""Real datasets for the tests, where they are: the one thing that may be missing from a machine."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from epsearch.core.errors import UserError
from epsearch.workloads.data_folder import data_folder
from epsearch.workloads.downloads import fetch_all
from epsearch.workloads.vision.image_data import ImageData

BY_HAND = {"war_and_peace": "war-and-peace/warandpeace.txt"}
"""Datasets that nothing downloads, and where they lie in the data folder."""


def skip_if_not_there(dataset: str) -> None:
    """Skip the test where the dataset is not in the data folder and cannot be downloaded, unless CI promises it.

    Whatever else is wrong with a dataset fails the test.
    """
    if os.environ.get("CI"):
        return
    if dataset in BY_HAND and not (data_folder() / BY_HAND[dataset]).exists():
        pytest.skip(f"no {BY_HAND[dataset]} in {data_folder()}")
    try:
        fetch_all(dataset)
    except UserError as error:
        if error.__cause__ is None:  # the file that was received is wrong
            raise
        pytest.skip(str(error))


def there(load: Callable[[], ImageData], place: str) -> ImageData:
    """The dataset; the test is skipped where the data folder has no `place`, unless CI promises that it has."""
    if not (data_folder() / place).exists() and not os.environ.get("CI"):
        pytest.skip(f"no {place} in {data_folder()}")
    return load()
