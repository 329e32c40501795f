"""Augmentations of a batch of images, each image drawn for itself, on the device that the batch is on."""

from __future__ import annotations

import torch
from torch.nn import functional as F

PADDING = 4
"""Pixels of zero padding that `crop` shifts within, as usual for 32 × 32 images."""


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image of (B, C, H, W) left to right with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def crop(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift each image of (B, C, H, W) by up to `PADDING` pixels in each direction, filling with zeros."""
    count, _, height, width = images.shape
    padded = F.pad(images, [PADDING] * 4)
    corners = torch.randint(2 * PADDING + 1, (2, count, 1), generator=generator, device=images.device)
    rows = corners[0] + torch.arange(height, device=images.device)
    columns = corners[1] + torch.arange(width, device=images.device)
    each = torch.arange(count, device=images.device)[:, None, None]
    # Advanced indices around the channel's slice come first: (B, H, W, C).
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
