"""Image datasets as uint8 tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch

from epsearch.core.errors import UserError
from epsearch.workloads.data_folder import DATA_VARIABLE, data_folder, one_at_a_time
from epsearch.workloads.downloads import fetch_all, unpack

# torchvision is imported lazily: its import takes as long as everything else, and the digits do not need it.
if TYPE_CHECKING:
    from epsearch.workloads.vision.image_folder import Sample

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


def digits() -> ImageData:
    """scikit-learn's bundled digits: 1,797 images of 8 × 8 pixels, 0 to 16; a fifth is the test part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images, labels = torch.tensor(bunch.images, dtype=torch.uint8)[:, None], torch.tensor(bunch.target)
    train, test = train_test_split(range(len(labels)), test_size=0.2, random_state=0, stratify=bunch.target)
    return ImageData.of((images[train], labels[train]), (images[test], labels[test]))


def fashion_mnist() -> ImageData:
    """Fashion-MNIST through torchvision: 60,000 + 10,000 images of 28 × 28.

    Raises:
        UserError: the dataset is not in the data folder and cannot be downloaded.
    """
    from torchvision.datasets import FashionMNIST

    fetch_all("fashion_mnist")
    train, test = _from_torchvision(FashionMNIST, "FashionMNIST/raw")
    return ImageData.of((train.data[:, None], train.targets), (test.data[:, None], test.targets))


def cifar10() -> ImageData:
    """CIFAR-10: 50,000 + 10,000 color images of 32 × 32.

    Read from `cifar10/train/<class>/…` and `cifar10/test/<class>/…` in the data folder, or else through torchvision.

    Raises:
        UserError: the dataset is not in the data folder and cannot be downloaded, or it is damaged.
    """
    images = data_folder() / "cifar10"
    if (images / "train").is_dir():
        return folder(images)
    from torchvision.datasets import CIFAR10

    fetch_all("cifar10")
    train, test = (
        (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
        for part in _from_torchvision(CIFAR10, "cifar-10-batches-py")
    )
    return ImageData.of(train, test)


def tiny_imagenet() -> ImageData:
    """Tiny ImageNet: 100,000 + 10,000 color images of 64 × 64, 200 classes.

    Its test labels are not public, so the validation images are the test part. Read from `tiny-imagenet-200` in the
    data folder: `train/<class>/images/…`, and either `val/images/…` with `val/val_annotations.txt` (the original
    layout) or `val/<class>/…` (a common rearrangement).

    Raises:
        UserError: the dataset is not in the data folder and cannot be downloaded, or it is damaged.
    """
    from epsearch.workloads.vision.image_folder import class_indices, samples

    root = data_folder() / "tiny-imagenet-200"
    fetch_all("tiny_imagenet")
    if not root.exists():
        with one_at_a_time(root.parent):
            if not root.exists():
                unpack(root.with_name("tiny-imagenet-200.zip"), root.name)
    indices = class_indices(root / "train")
    train, val = samples(root / "train", indices), root / "val"
    return _read(root, train, _annotated(val, indices) if (val / "images").is_dir() else samples(val, indices))


def folder(path: Path, image_size: int | None = None) -> ImageData:
    """Your own images: `path/train/<class>/**` and `path/test/<class>/**` (or val), all of one size.

    With `image_size` the shorter side of each image is scaled to that many pixels, and the image cropped to the center
    square.

    Raises:
        UserError: the folder has another layout, or an image is damaged or of another size.
    """
    from epsearch.workloads.vision.image_folder import train_and_test

    return _read(path, *train_and_test(path), image_size)


def _read(root: Path, train: list[Sample], test: list[Sample], size: int | None = None) -> ImageData:
    from epsearch.workloads.vision.files import read_images

    images = read_images(root, [file for file, _ in train + test], size)
    labels = torch.tensor([label for _, label in train + test])
    count = len(train)
    return ImageData.of((images[:count], labels[:count]), (images[count:], labels[count:]))


def _annotated(val: Path, indices: dict[str, int]) -> list[Sample]:
    """Samples of `val/images`, labeled by the lines `file<TAB>class<TAB>…` of `val/val_annotations.txt`."""
    listing = val / "val_annotations.txt"
    try:
        rows = [line.split("\t") for line in listing.read_text().splitlines()]
        return [(str(val / "images" / file), indices[name]) for file, name, *_ in rows]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{listing} must have lines of file and class ({type(error).__name__}: {error}); restore the one that "
            "comes with Tiny ImageNet."
        ) from error


def _from_torchvision(dataset: Any, path: str) -> list[Any]:
    """The training and the test part of a torchvision dataset; torchvision verifies and unpacks the files."""
    root = data_folder()
    with one_at_a_time(root):
        try:
            return [dataset(str(root), train=train, download=True) for train in (True, False)]
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise UserError(
                f"{dataset.__name__} cannot be read from {root / path} ({str(error).splitlines()[0]:.200}).\n"
                f"If you already have the data, set {DATA_VARIABLE} to the folder that holds {Path(path).parts[0]}/. "
                "Otherwise delete the files there and run again to download them."
            ) from error
