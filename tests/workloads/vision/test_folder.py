"""Folders of images: layouts, sizes, damage, and the cache that their pixels are kept in."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from epsearch.core.errors import UserError
from epsearch.workloads.data_folder import DATA_VARIABLE
from epsearch.workloads.vision import files as image_files
from epsearch.workloads.vision.data import folder


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes, each with three images for training and one for testing; a data folder and home of their own."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "images"
    for number, name in enumerate(["train/cat/a", "train/cat/b/c", "train/cat/d", "train/dog/a", "train/dog/b"]):
        write(root / f"{name}.png", number)
    write(root / "train" / "dog" / "c.jpg", 9)
    for number, name in enumerate(["test/cat/a", "test/dog/a"]):
        write(root / f"{name}.png", 100 + number)
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were decoded, not read from the cache."""
    files: list[str] = []
    original: Callable[..., object] = image_files._image

    def image(file: str, size: int | None) -> object:
        files.append(file)
        return original(file, size)

    monkeypatch.setattr(image_files, "_image", image)
    return files


def write(path: Path, value: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value, 2 * value, 0) if mode == "RGB" else value).save(path)


def test_layout(images: Path) -> None:
    data = folder(images)
    assert data.shape == (3, 16, 20)
    assert data.train_images.dtype == torch.uint8
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_labels.tolist() == [0, 1]
    # Of a class the images of its folder, then those of the folders in it, as torchvision has them.
    assert data.train_images[:5, 0, 0, 0].tolist() == [0, 2, 1, 3, 4]
    assert data.test_images[:, :, 3, 3].tolist() == [[100, 200, 0], [101, 202, 0]]


def test_val_for_test(images: Path) -> None:
    (images / "test").rename(images / "val")
    assert folder(images).test_labels.tolist() == [0, 1]


def test_grey_images_become_rgb(images: Path) -> None:
    write(images / "train" / "cat" / "a.png", 7, mode="L")
    assert folder(images).train_images[0, :, 0, 0].tolist() == [7, 7, 7]


def test_other_sizes_are_named(images: Path) -> None:
    write(images / "test" / "dog" / "a.png", 1, (16, 20))
    with pytest.raises(UserError) as error:
        folder(images)
    for part in ("test/dog/a.png has 16 × 20", "train/cat/a.png has 20 × 16", "image_size: 32"):
        assert part in str(error.value)


def test_image_size_scales_and_cuts(images: Path) -> None:
    """A wide image: its middle is what is left."""
    wide = Image.new("RGB", (40, 10))
    wide.paste((255, 255, 255), (15, 0, 25, 10))
    wide.save(images / "train" / "cat" / "a.png")
    data = folder(images, image_size=5)
    assert data.shape == (3, 5, 5)
    assert (data.train_images[0, :, :, 1:4] == 255).all()
    assert (data.train_images[0] > 200).all()


@pytest.mark.parametrize("damage", [b"", b"no image", b"half"])
def test_a_damaged_image_is_named(images: Path, damage: bytes) -> None:
    file = images / "train" / "dog" / "c.jpg"
    file.write_bytes(file.read_bytes()[:400] if damage == b"half" else damage)
    with pytest.raises(UserError, match=r"train/dog/c\.jpg cannot be read as an image"):
        folder(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "needs two folders, train and test"),
        (lambda root: shutil.rmtree(root / "test"), "needs two folders, train and test"),
        (lambda root: (root / "train" / "mouse").mkdir(), "test lacks 1 of the classes in .*train, for example mouse"),
        (lambda root: shutil.rmtree(root / "train" / "cat"), "train lacks 1 of the classes in .*test, for example cat"),
        (lambda root: (root / "test" / "cat" / "a.png").unlink(), "no valid file for the classes cat"),
        (lambda root: [shutil.rmtree(root / "test" / name) for name in ("cat", "dog")], "test must contain one folder"),
    ],
    ids=["absent", "no test", "one more", "one less", "an empty class", "no class"],
)
def test_another_layout(images: Path, change: Callable[[Path], object], message: str) -> None:
    change(images)
    with pytest.raises(UserError, match=message):
        folder(images)


class TestCache:
    @pytest.mark.filterwarnings("error")
    def test_second_time_decodes_nothing(self, images: Path, decoded: list[str]) -> None:
        first = folder(images)
        # The first twice: it tells the size.
        assert len(decoded) == 9
        second = folder(images)
        assert len(decoded) == 9
        assert torch.equal(first.train_images, second.train_images)
        assert torch.equal(first.test_images, second.test_images)

    def test_moved_images_are_known(self, images: Path, decoded: list[str]) -> None:
        folder(images)
        folder(images.rename(images.with_name("moved")))
        assert len(decoded) == 9

    @pytest.mark.parametrize("size", [None, 8])
    def test_what_changes_is_decoded_again(self, images: Path, decoded: list[str], size: int | None) -> None:
        folder(images)
        if size is None:
            file = images / "train" / "cat" / "a.png"
            before = file.stat()
            write(file, 50)
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
            assert folder(images).train_images[0, 0, 0, 0] == 50
        else:
            assert folder(images, size).shape == (3, 8, 8)
        assert len(decoded) == 18

    def test_a_damaged_cache(self, images: Path, decoded: list[str], tmp_path: Path) -> None:
        expected = folder(images).train_images.clone()
        (file,) = (tmp_path / "data" / ".cache").glob("*.npy")
        whole = file.read_bytes()
        for damage in (b"", whole[:50], whole[:-1], b"x" * 200):
            file.write_bytes(damage)
            assert torch.equal(folder(images).train_images, expected)
            assert file.read_bytes() == whole

    def test_the_other_place(self, images: Path, decoded: list[str], tmp_path: Path) -> None:
        """A data folder that cannot be written, even by root: it lies below a file."""
        (tmp_path / "data").write_text("a file")
        folder(images)
        folder(images)
        assert len(decoded) == 9
        assert list((tmp_path / "home" / ".cache" / "epsearch" / ".cache").glob("*.npy"))

    def test_no_place(self, images: Path, tmp_path: Path) -> None:
        for place in ("data", "home"):
            (tmp_path / place).write_text("a file")
        assert folder(images).train_images[4, 0, 0, 0] == 4

    def test_a_full_disk(self, images: Path, tmp_path: Path) -> None:
        """As the system reports it: a limit on the size of files is met while writing."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            assert folder(images).train_images[4, 0, 0, 0] == 4
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [file.name for file in (tmp_path / "data" / ".cache").iterdir()] == [".epsearch.lock"]

    def test_writing_to_images_leaves_the_file(self, images: Path, tmp_path: Path) -> None:
        folder(images)
        (file,) = (tmp_path / "data" / ".cache").glob("*.npy")
        before = np.load(file)
        folder(images).train_images.zero_()
        assert np.array_equal(np.load(file), before)
