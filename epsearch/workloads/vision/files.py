"""Read image files into one uint8 tensor: decoded once, then loaded from the cache."""

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
"""Threads that decode files: PIL releases the interpreter lock while decoding."""


def read_images(folder: Path, files: Sequence[str], size: int | None = None) -> torch.Tensor:
    """Read `files`, paths in `folder`, as RGB images: (N, 3, H, W), uint8, in memory shared between processes.

    With `size` the shorter side of each image is scaled to that many pixels, and the image cropped to the center
    square.

    Raises:
        UserError: a file is not an image, or (without `size`) differs in size from the first.
    """
    return torch.from_numpy(cached(_digest(folder, files, size), len(files), lambda: _decode(files, size)))


def _digest(folder: Path, files: Sequence[str], size: int | None) -> str:
    """Key for these files and this size: a hash of names, lengths and modification times."""
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
                    f"{files[index]} has {_size(image)} pixels, but {files[0]} has {_size(first)}. Set "
                    "workload.image_size, e.g. image_size: 32, to scale and crop all images to squares of that size."
                )
            images[index] = image

    with ThreadPoolExecutor(THREADS) as pool:
        # Consume every result, to raise what a thread raised.
        list(pool.map(decode, range(THREADS)))
    return images


def _image(file: str, size: int | None) -> Pixels:
    """(3, H, W)."""
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    # PIL's exceptions for damaged files differ by format: OSError, SyntaxError, ValueError, its own bomb warning …
    except Exception as error:
        raise UserError(f"{file} cannot be read as an image ({error}). Replace it or remove it.") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _size(image: Pixels) -> str:
    return f"{image.shape[2]} × {image.shape[1]}"
