"""Augmentations of a batch of images on the batch's device, drawn independently for each image.

Both select whole images or windows by one index per image: on a CPU core several times faster than a mask or an index
per pixel.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image of (B, C, H, W) left to right with probability 1/2."""
    count = len(images)
    mirrored = torch.rand(count, generator=generator, device=images.device) < 0.5
    either = torch.arange(count, device=images.device) + count * mirrored
    return torch.cat((images, images.flip(-1))).index_select(0, either)


def padding(height: int) -> int:
    """Zero padding used by `crop`, in pixels: 4 for 32 × 32 images, as usual, and 8 for 64 × 64."""
    return height // 8


def crop(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift each image of (B, C, H, W) by up to `padding(H)` pixels in each direction, filling with zeros."""
    count, channels, height, width = images.shape
    margin = padding(height)
    padded = F.pad(images, [margin] * 4)
    top, left = torch.randint(2 * margin + 1, (2, count), generator=generator, device=images.device)
    of_image, of_channel, of_row, _ = padded.stride()
    corners = torch.arange(count, device=images.device) * of_image + top * of_row + left
    # All overlapping windows, indexed by the position of their corner in memory.
    last = (count - 1) * of_image + 2 * margin * of_row + 2 * margin
    windows = padded.as_strided((last + 1, channels, height, width), (1, of_channel, of_row, 1))
    return windows.index_select(0, corners)
