"""Image datasets as uint8 tensors."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import torch

from epsearch.errors import UserError

DATA_VARIABLE = "EPSEARCH_DATA"
"""Environment variable that names the folder of the datasets."""


class ImageData(NamedTuple):
    """Images (N, C, H, W) as uint8 and labels (N,) as int64; mean and std (C, 1, 1) of the training images."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, train: tuple[torch.Tensor, torch.Tensor], test: tuple[torch.Tensor, torch.Tensor]) -> Self:
        """From (images, labels) for training and for testing."""
        # One channel at a time: a float copy of a whole large dataset would not fit where its bytes do.
        channels = [train[0][:, channel].float() for channel in range(train[0].shape[1])]
        mean = torch.stack([channel.mean() for channel in channels])[:, None, None]
        std = torch.stack([channel.std() for channel in channels])[:, None, None]
        dtype = torch.get_default_dtype()
        return cls(*train, *test, mean.to(dtype), std.to(dtype))

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
        """On `device` if images and labels fit into half of its free memory; else only mean and std are."""
        needed = sum(tensor.nbytes for tensor in self)
        if device.type == "cuda" and needed > torch.cuda.mem_get_info(device)[0] // 2:
            return self._replace(mean=self.mean.to(device), std=self.std.to(device))
        return ImageData(*(tensor.to(device) for tensor in self))

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Z-scores: mean 0 and standard deviation 1 for each channel of the training images."""
        return (images - self.mean) / self.std


def digits() -> ImageData:
    """scikit-learn's bundled scans: 1,797 digits of 8 × 8 pixels, 0 to 16; a fifth is for testing."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images, labels = torch.tensor(bunch.images, dtype=torch.uint8)[:, None], torch.tensor(bunch.target)
    train, test = train_test_split(range(len(labels)), test_size=0.2, random_state=0, stratify=bunch.target)
    return ImageData.of((images[train], labels[train]), (images[test], labels[test]))


def fashion_mnist() -> ImageData:
    """Fashion-MNIST through torchvision: 60,000 + 10,000 images of 28 × 28.

    Raises:
        UserError: it is not in the data folder and cannot be downloaded.
    """
    from torchvision.datasets import FashionMNIST

    folder = data_folder()
    with _one_at_a_time(folder):
        try:
            parts = [FashionMNIST(str(folder), train=train, download=True) for train in (True, False)]
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"Fashion-MNIST is not in {folder / 'FashionMNIST' / 'raw'} and could not be downloaded "
                f"({str(error).splitlines()[0]:.200}).\n"
                f"If you have it elsewhere, set {DATA_VARIABLE} to the folder that holds FashionMNIST/. Else, where "
                f'there is a network: python -c "from torchvision.datasets import FashionMNIST as F; '
                f"F('{folder}', download=True)\""
            ) from error
    train, test = ((part.data[:, None], part.targets) for part in parts)
    return ImageData.of(train, test)


def data_folder() -> Path:
    """Where datasets are kept: EPSEARCH_DATA, or ~/.cache/epsearch."""
    return Path(os.environ.get(DATA_VARIABLE) or Path.home() / ".cache" / "epsearch").expanduser().resolve()


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Workers start together: only one of them downloads, the others find it done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".epsearch.lock").open("w")
    except OSError:
        # A folder that cannot be written needs no lock: nothing will be downloaded into it.
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
