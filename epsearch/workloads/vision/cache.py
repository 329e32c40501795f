"""Decoded images on disk, mapped into memory: worker processes share them and start at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epsearch.workloads.data_folder import data_folder, one_at_a_time, own_folder

Pixels = npt.NDArray[np.uint8]


def cached(key: str, count: int, decode: Callable[[], Pixels]) -> Pixels:
    """The images (N, C, H, W), N = `count`, that were kept under `key`, else those that `decode` returns, then kept.

    They are kept in `.cache` of the data folder, or of ~/.cache/epsearch where that cannot be written. Where neither
    can, or the disk is full, they are in memory alone. Processes that ask at once wait for the first to decode.
    """
    places = [folder / ".cache" / f"{key}.npy" for folder in (data_folder(), own_folder())]
    if (found := _first(places, count)) is not None:
        return found
    place = next((place for place in places if _can_write(place.parent)), None)
    if place is None:
        return decode()
    with one_at_a_time(place.parent):
        # Another process may have had the first turn.
        if (found := _first(places, count)) is not None:
            return found
        images = decode()
        try:
            _save(place, images)
        except OSError:
            return images
    # Mapped like the other processes' own, so that there is one copy of the images for all.
    mapped = _first([place], count)
    return images if mapped is None else mapped


def _first(places: list[Path], count: int) -> Pixels | None:
    """The first of the files that holds `count` images, mapped."""
    for place in places:
        # A file that is absent, cut short or no array.
        with contextlib.suppress(OSError, ValueError, EOFError):
            # Copy on write: torch warns of arrays that cannot be written, though nobody writes.
            images: Pixels = np.load(place, mmap_mode="c")
            if images.dtype == np.uint8 and images.ndim == 4 and len(images) == count:
                return images
    return None


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _save(path: Path, images: Pixels) -> None:
    """Whole or not at all.

    Raises:
        OSError: it could not be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, images)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
