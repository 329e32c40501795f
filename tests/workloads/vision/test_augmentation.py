"""Augmentations against the one image, one window at a time."""

from __future__ import annotations

import itertools

import pytest
import torch

from epsearch.workloads.vision.augmentation import crop, flip, padding

IMAGES = torch.arange(64 * 3 * 16 * 12).remainder(255).to(torch.uint8).reshape(64, 3, 16, 12) + 1


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flip_mirrors_about_half() -> None:
    flipped = flip(IMAGES, generator())
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, IMAGES, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(flipped, IMAGES, strict=True)]
    assert sum(mirrored) + sum(kept) == 64
    assert 20 < sum(mirrored) < 44


def test_crop_shifts_each_image_for_itself() -> None:
    cropped = crop(IMAGES, generator())
    assert cropped.shape == IMAGES.shape
    margin, shifts = padding(16), set()
    for new, old in zip(cropped, IMAGES, strict=True):
        # The slow twin: the one window of the padded image that this is.
        padded = torch.nn.functional.pad(old, [margin] * 4)
        windows = itertools.product(range(2 * margin + 1), repeat=2)
        (found,) = [(y, x) for y, x in windows if torch.equal(padded[:, y : y + 16, x : x + 12], new)]
        shifts.add(found)
    assert len(shifts) > 15


@pytest.mark.parametrize(("height", "pixels"), [(8, 1), (28, 3), (32, 4), (64, 8)])
def test_crop_pads_by_an_eighth(height: int, pixels: int) -> None:
    assert padding(height) == pixels


@pytest.mark.parametrize("augmentation", [flip, crop])
def test_any_batch(augmentation: object) -> None:
    """One image, images that are a view of others, floats: each comes out as it would alone in memory."""
    assert callable(augmentation)
    for images in (IMAGES[:1], IMAGES[::2], IMAGES[..., 2:10], IMAGES.transpose(2, 3), IMAGES.double()):
        expected = augmentation(images.clone(memory_format=torch.contiguous_format), generator())
        found = augmentation(images, generator())
        assert found.dtype == images.dtype
        assert torch.equal(found, expected)
        assert not torch.equal(augmentation(IMAGES, generator(1)), augmentation(IMAGES, generator(2)))
