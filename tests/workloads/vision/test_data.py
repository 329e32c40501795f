"""Image datasets: the real ones whole, what is held out, what is missing."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import torch

from epsearch.core.errors import UserError
from epsearch.workloads.data_folder import DATA_VARIABLE, data_folder
from epsearch.workloads.vision.data import (
    ImageData,
    cifar10,
    digits,
    fashion_mnist,
    tiny_imagenet,
)
from tests.workloads.real_data import there


def test_digits_are_the_bundled_scans() -> None:
    data = digits()
    assert len(data.train_labels) + len(data.test_labels) == 1797
    assert data.train_images.dtype == torch.uint8
    assert data.shape == (1, 8, 8)
    assert data.classes == 10
    assert data.train_images.max() == 16


def test_digits_load_no_torchvision() -> None:
    """It takes as long to import as everything else that the quickstart needs."""
    code = (
        "import sys, epsearch.workloads.vision.workload, epsearch.workloads.vision.small_models\n"
        "from epsearch.workloads.vision.data import digits\ndigits()\nassert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fashion_mnist_is_whole() -> None:
    """The published mean and standard deviation of the training images: 0.2860 and 0.3530."""
    data = there(fashion_mnist, "FashionMNIST/raw")
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    assert data.mean.item() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert data.std.item() / 255 == pytest.approx(0.3530, abs=1e-4)
    assert data.train_labels.bincount().tolist() == [6000] * 10


def test_cifar10_is_whole() -> None:
    """The published means of the training images: 0.4914, 0.4822, 0.4465; and std: 0.2470, 0.2435, 0.2616."""
    data = there(cifar10, "cifar10")
    assert data.train_images.shape == (50_000, 3, 32, 32)
    assert data.test_images.shape == (10_000, 3, 32, 32)
    assert (data.mean.flatten() / 255).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-3)
    # JPEG smooths a little away.
    assert (data.std.flatten() / 255).tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=3e-3)
    assert data.train_labels.bincount().tolist() == [5000] * 10


def test_tiny_imagenet_in_its_own_layout() -> None:
    data = there(tiny_imagenet, "tiny-imagenet-200")
    assert data.shape == (3, 64, 64)
    assert data.classes == 200
    for labels in (data.train_labels, data.test_labels):
        assert len(set(labels.bincount().tolist())) == 1
    # Some images are grey, in three equal channels.
    red, green, blue = data.train_images.unbind(1)
    assert ((red == green) & (green == blue)).flatten(1).all(1).any()


def test_tiny_imagenet_rearranged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`val/<class>` holds the same images as `val/images` with its list."""
    there(tiny_imagenet, "tiny-imagenet-200")
    original = data_folder() / "tiny-imagenet-200"
    kinds = [folder.name for folder in sorted((original / "train").iterdir())[:3]]
    rows = [line.split("\t")[:2] for line in (original / "val" / "val_annotations.txt").read_text().splitlines()]
    rows = [row for row in rows if row[1] in kinds]
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = []
    for layout in ("own", "rearranged"):
        root = tmp_path / layout / "tiny-imagenet-200"
        (root / "train").mkdir(parents=True)
        for kind in kinds:
            (root / "train" / kind).symlink_to(original / "train" / kind)
        for file, kind in rows:
            image = root / "val" / ("images" if layout == "own" else kind) / file
            image.parent.mkdir(parents=True, exist_ok=True)
            image.symlink_to(original / "val" / "images" / file)
        if layout == "own":
            (root / "val" / "val_annotations.txt").write_text("".join(f"{file}\t{kind}\t0\n" for file, kind in rows))
        monkeypatch.setenv(DATA_VARIABLE, str(root.parent))
        loaded.append(tiny_imagenet())
    own, rearranged = loaded
    assert torch.equal(own.train_images, rearranged.train_images)
    for label in range(3):
        images = [data.test_images[data.test_labels == label] for data in loaded]
        # The same images, in another order.
        assert sorted(images[0].sum((1, 2, 3)).tolist()) == sorted(images[1].sum((1, 2, 3)).tolist())
        assert len(images[0])


def test_tiny_imagenet_with_a_damaged_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    root = tmp_path / "tiny-imagenet-200"
    for folder in ("train/n01443537/images", "val/images"):
        (root / folder).mkdir(parents=True)
    (root / "train" / "n01443537" / "images" / "one.JPEG").touch()
    for content in (None, "no list", "a.JPEG\tn99999999\t0\n"):
        if content is not None:
            (root / "val" / "val_annotations.txt").write_text(content)
        with pytest.raises(UserError, match=r"val_annotations\.txt cannot be read"):
            tiny_imagenet()


@pytest.mark.parametrize(
    ("load", "place"),
    [
        (fashion_mnist, "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        (cifar10, "cifar-10-python.tar.gz"),
        (tiny_imagenet, "tiny-imagenet-200.zip"),
    ],
)
def test_missing_data_without_a_network(
    load: object, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    # urllib keeps the first opener it makes, with the proxies of that moment.
    monkeypatch.setattr(urllib.request, "_opener", None)
    assert callable(load)
    with pytest.raises(UserError) as error:
        load()
    assert str(tmp_path / "nowhere" / place) in str(error.value)
    assert DATA_VARIABLE in str(error.value)
    assert "://" in str(error.value)


@pytest.mark.parametrize("load", [fashion_mnist, cifar10])
def test_damaged_data(load: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    raw = tmp_path / "FashionMNIST" / "raw"
    for kind in ("train", "t10k"):
        for part in ("images-idx3", "labels-idx1"):
            raw.mkdir(parents=True, exist_ok=True)
            (raw / f"{kind}-{part}-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x05damaged")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)
    assert callable(load)
    with pytest.raises(UserError, match=r"cannot be read from .*\n.*EPSEARCH_DATA.*delete what is there"):
        load()


class TestImageData:
    images = torch.randint(256, (300, 3, 5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(300) % 3
    data = ImageData.of((images, labels), (images[:9], labels[:9]))

    def test_mean_and_std(self) -> None:
        for channel in range(3):
            pixels = self.images[:, channel].double()
            assert self.data.mean[channel].item() == pytest.approx(pixels.mean().item())
            assert self.data.std[channel].item() == pytest.approx(pixels.std().item())

    def test_normalise(self) -> None:
        before = self.images.clone()
        found = self.data.normalize(self.images)
        assert torch.equal(found, (self.images.float() - self.data.mean) / self.data.std)
        assert torch.equal(self.images, before)

    def test_a_channel_of_one_value(self) -> None:
        images = self.images.clone()
        images[:, 1] = 7
        data = ImageData.of((images, self.labels), (images, self.labels))
        assert torch.isfinite(data.normalize(images)).all()
        assert not data.normalize(images)[:, 1].any()

    def test_hold_out(self) -> None:
        data, left = self.data.hold_out(0.1)
        assert data.test_labels.bincount().tolist() == [10, 10, 10]
        assert self.labels[left].bincount().tolist() == [90, 90, 90]
        # Whoever is held out is not trained on: together they are all.
        together = torch.cat((data.test_images, self.images[left])).flatten(1)
        assert len(together.unique(dim=0)) == 300
        assert data.mean.flatten().tolist() == pytest.approx(self.images[left].double().mean((0, 2, 3)).tolist())
        torch.manual_seed(99)
        assert torch.equal(self.data.hold_out(0.1)[1], left)

    def test_hold_out_of_too_few(self) -> None:
        few = ImageData.of((self.images[:9], self.labels[:9]), (self.images, self.labels))
        with pytest.raises(UserError, match=r"0\.1 of the training images of each class is less than one"):
            few.hold_out(0.1)
