"""A dataset of images as uint8 tensors, with the statistics that normalize them."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch

from epsearch.core.errors import UserError

STATISTICS_CHUNK = 4096
"""Images whose pixels are counted at a time, to avoid copying a large dataset."""

Images = tuple[torch.Tensor, torch.Tensor]
"""Images (N, C, H, W) as uint8 and labels (N,) as int64."""


class ImageData(NamedTuple):
    """Images (N, C, H, W) as uint8 and labels (N,) as int64; mean and std (C, 1, 1) of the training images."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, train: Images, test: Images) -> Self:
        """From (images, labels) of the training and the test part."""
        return cls(*train, *test, *_mean_and_std(train[0], torch.arange(len(train[0]))))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.train_labels.max()) + 1

    def to(self, device: torch.device) -> ImageData:
        """Move to `device` if images and labels fit into half of its free memory; otherwise move only mean and std."""
        needed = sum(tensor.nbytes for tensor in self)
        if device.type == "cuda" and needed > torch.cuda.mem_get_info(device)[0] // 2:
            return self._replace(mean=self.mean.to(device), std=self.std.to(device))
        return ImageData(*(tensor.to(device) for tensor in self))

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Z-scores: each channel of the training images gets mean 0 and standard deviation 1."""
        return images.to(self.mean.dtype, copy=True).sub_(self.mean).div_(self.std)

    def hold_out(self, share: float) -> tuple[ImageData, torch.Tensor]:
        """Replace the test images by held-out training images; also return the indices (M,) of the rest.

        The same share of each class is held out, with the same selection for every seed. Mean and std are those of the
        remaining images.

        Raises:
            UserError: no class is large enough to hold out an image.
        """
        generator = torch.Generator().manual_seed(0)
        held = torch.zeros(len(self.train_labels), dtype=torch.bool)
        for label in range(self.classes):
            members = (self.train_labels == label).nonzero()[:, 0]
            chosen = torch.randperm(len(members), generator=generator)[: round(share * len(members))]
            held[members[chosen]] = True
        if not held.any():
            raise UserError(f"{share:g} of the training images of each class is less than one image; raise it.")
        left, indices = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
        mean, std = _mean_and_std(self.train_images, left)
        # The remaining training images are not copied: processes may share their memory.
        data = self._replace(
            test_images=self.train_images.index_select(0, indices),
            test_labels=self.train_labels[indices],
            mean=mean,
            std=std,
        )
        return data, left


def _mean_and_std(images: torch.Tensor, indices: torch.Tensor) -> Images:
    """Exact mean and standard deviation of each channel (C, 1, 1) over the images at `indices`."""
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for part in torch.split(indices, STATISTICS_CHUNK):
        for channel, pixels in enumerate(images.index_select(0, part).unbind(1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=256)
    total = counts.sum(1)
    mean = (counts * values).sum(1) / total
    variance = (counts * (values - mean[:, None]).square()).sum(1) / (total - 1)
    # A constant channel has standard deviation 0; do not divide by it.
    std = torch.where(variance > 0, variance.sqrt(), 1.0)
    dtype = torch.get_default_dtype()
    return mean[:, None, None].to(dtype), std[:, None, None].to(dtype)
