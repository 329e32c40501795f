"""A cache of decoded images on disk, memory-mapped: worker processes share it and start at once."""

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
    """Load `count` images (N, C, H, W) from the cache under `key`, or call `decode` and cache its result.

    The cache is `.cache` in the data folder, or in ~/.cache/epsearch if the data folder is read-only. If neither can
    be written, or the disk is full, the images stay in memory. Only one process decodes; the others wait for it.
    """
    paths = [folder / ".cache" / f"{key}.npy" for folder in (data_folder(), own_folder())]
    if (found := _first(paths, count)) is not None:
        return found
    path = next((path for path in paths if _can_write(path.parent)), None)
    if path is None:
        return decode()
    with one_at_a_time(path.parent):
        # Another process may have decoded them in the meantime.
        if (found := _first(paths, count)) is not None:
            return found
        images = decode()
        try:
            _save(path, images)
        except OSError:
            return images
    # Map the file here too, so that all processes share one copy.
    mapped = _first([path], count)
    return images if mapped is None else mapped


def _first(paths: list[Path], count: int) -> Pixels | None:
    """Map the first of the files that holds `count` images."""
    for path in paths:
        # The file may be missing, truncated or not an array.
        with contextlib.suppress(OSError, ValueError, EOFError):
            # Copy on write, because torch warns about read-only arrays; nothing writes to it.
            images: Pixels = np.load(path, mmap_mode="c")
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
    """Write the file atomically.

    Raises:
        OSError: the file could not be written; nothing is left behind.
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
