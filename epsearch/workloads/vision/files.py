"""Image files of one size as one uint8 tensor: decoded once, then read from the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from epsearch.core.errors import UserError
from epsearch.workloads.vision.cache import Pixels, cached

THREADS = 2
"""Files are decoded by so many threads: PIL lets go of the interpreter while it decodes."""


def read_images(folder: Path, files: Sequence[str], size: int | None = None) -> torch.Tensor:
    """The images of `files`, paths in `folder`, as RGB: (N, 3, H, W), uint8, of which processes share the memory.

    With `size` each is scaled until its shorter side has that many pixels, and the middle square cut out.

    Raises:
        UserError: a file holds no image, or (without `size`) is not as large as the first.
    """
    return torch.from_numpy(cached(_digest(folder, files, size), len(files), lambda: _decode(files, size)))


def _digest(folder: Path, files: Sequence[str], size: int | None) -> str:
    """What tells these files, and how they are read, from all others: names, lengths, times of their last change."""
    digest, start = hashlib.sha256(f"{size}\n".encode()), f"{folder}{os.sep}"
    for file in files:
        found = os.stat(file)
        digest.update(os.fsencode(f"{file.removeprefix(start)}\0{found.st_size}\0{found.st_mtime_ns}\n"))
    return digest.hexdigest()[:32]


def _decode(files: Sequence[str], size: int | None) -> Pixels:
    first = _image(files[0], size)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)

    def decode(start: int) -> None:
        for index in range(start, len(files), THREADS):
            image = _image(files[index], size)
            if image.shape != first.shape:
                raise UserError(
                    f"{files[index]} is an image of {_size(image)} pixels, but {files[0]} one of {_size(first)}. Give "
                    "workload.image_size, e.g. image_size: 32, to have all scaled and cut to squares of that size."
                )
            images[index] = image

    with ThreadPoolExecutor(THREADS) as pool:
        # The list asks for every thread's outcome, which raises what the thread raised.
        list(pool.map(decode, range(THREADS)))
    return images


def _image(file: str, size: int | None) -> Pixels:
    """(3, H, W)."""
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    # What PIL raises for damaged files differs by format: OSError, SyntaxError, ValueError, its own bomb warning …
    except Exception as error:
        raise UserError(f"{file} cannot be read as an image ({error}). Replace it or remove it.") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _size(image: Pixels) -> str:
    return f"{image.shape[2]} × {image.shape[1]}"
