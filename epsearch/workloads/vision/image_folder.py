"""Folders with one subfolder of images per class, as read by torchvision's ImageFolder."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

from epsearch.core.errors import UserError

Sample = tuple[str, int]
"""A file and the index of its class in the sorted class names."""


def class_indices(folder: Path) -> dict[str, int]:
    """The index of each class: the subfolders of `folder`, sorted.

    Raises:
        UserError: there are no subfolders.
    """
    try:
        indices: dict[str, int] = find_classes(folder)[1]
    except OSError as error:
        raise UserError(f"{folder} must contain one folder of images per class ({error}).") from error
    return indices


def samples(folder: Path, indices: dict[str, int]) -> list[Sample]:
    """The images in `folder/<class>/**` for these classes, sorted.

    Raises:
        UserError: a class has no images.
    """
    try:
        found: list[Sample] = make_dataset(str(folder), indices, IMG_EXTENSIONS)
    except OSError as error:
        raise UserError(f"{folder}: {error}") from error
    return found


def train_and_test(folder: Path) -> tuple[list[Sample], list[Sample]]:
    """The samples in `folder/train` and in `folder/test` (or `folder/val` if there is no test).

    Raises:
        UserError: a folder is missing or has no images, or the classes differ.
    """
    train = folder / "train"
    test = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    if not train.is_dir() or test is None:
        raise UserError(
            f"{folder} needs two folders, train and test (or val), each with one folder of images per class: "
            f"{train / 'cat' / 'any-name.jpg'}."
        )
    indices, test_indices = class_indices(train), class_indices(test)
    only_train, only_test = indices.keys() - test_indices.keys(), test_indices.keys() - indices.keys()
    for here, there, lacking in ((test, train, only_train), (train, test, only_test)):
        if lacking:
            raise UserError(
                f"{here} lacks {len(lacking)} of the classes in {there}, for example {min(lacking)}; "
                "both need the same folders."
            )
    return samples(train, indices), samples(test, indices)
