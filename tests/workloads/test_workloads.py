"""What every workload of the table must do, for each dataset with each model."""

from __future__ import annotations

import itertools
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from epsearch.config import StudyConfig
from epsearch.errors import UserError
from epsearch.training.seeding import seed_all
from epsearch.workloads import Workload, create_workload
from epsearch.workloads.augmentation import PADDING, crop, flip
from epsearch.workloads.image_data import DATA_VARIABLE, digits, fashion_mnist
from epsearch.workloads.table import DATASETS, MODELS

CPU = torch.device("cpu")
ROWS = [
    (workload, dataset, model)
    for workload in DATASETS
    for dataset, model in itertools.product(DATASETS[workload], MODELS[workload])
]


@pytest.fixture(params=ROWS, ids="-".join)
def make(request: pytest.FixtureRequest) -> Callable[..., Workload]:
    """Makes the workload, with keys of the `workload` and `training` sections; skips where data cannot be had."""
    name, dataset, model = request.param

    def make(batch_size: int = 64, **section: object) -> Workload:
        config = StudyConfig.model_validate(
            {
                "name": "test",
                "workload": {"name": name, "dataset": dataset, "model": model, **section},
                "training": {"batch_size": batch_size},
            }
        )
        try:
            return create_workload(config, CPU)
        except UserError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))

    return make


class TestEveryWorkload:
    def test_same_weights_and_batches_for_a_seed(self, make: Callable[..., Workload]) -> None:
        """Every cell of a seed starts alike and sees the same, whatever the model drew in between."""
        workload = make(augment=["flip", "crop"])
        seen = []
        for noise in (0, 100):
            seed_all(3)
            weights = [parameter.detach().clone() for parameter in workload.model().parameters()]
            seed_all(3, 1)
            batches = workload.train_batches(1)
            images, labels = next(iter(batches))
            torch.rand(noise)
            seen.append((weights, images, labels, next(iter(batches))[0]))
        for first, second in zip(*(torch.utils._pytree.tree_leaves(one) for one in seen), strict=True):
            assert torch.equal(first, second)

    def test_another_epoch_is_in_another_order(self, make: Callable[..., Workload]) -> None:
        workload = make()
        firsts = []
        for epoch in (0, 1):
            seed_all(0, epoch)
            firsts.append(next(iter(workload.train_batches(epoch)))[0])
        assert not torch.equal(*firsts)

    def test_an_epoch_holds_every_example_once(self, make: Callable[..., Workload]) -> None:
        labels = torch.cat([labels for _, labels in make(batch_size=1000).train_batches(0)])
        again = torch.cat([labels for _, labels in make(batch_size=777).train_batches(1)])
        assert torch.equal(labels.bincount(), again.bincount())
        assert len(labels) > 1000

    def test_inputs_are_normalised(self, make: Callable[..., Workload]) -> None:
        images = torch.cat([images for images, _ in itertools.islice(make(batch_size=500).train_batches(0), 3)])
        assert images.dtype == torch.float32
        assert abs(images.mean().item()) < 0.1
        assert abs(images.std().item() - 1) < 0.1

    def test_trains_and_evaluates(self, make: Callable[..., Workload]) -> None:
        workload = make()
        seed_all(0)
        model = workload.model()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        before = workload.evaluate(model.eval())
        for batch in itertools.islice(workload.train_batches(0), 20):
            optimizer.zero_grad()
            workload.loss(model, batch).backward()
            optimizer.step()
        with torch.no_grad():
            after = workload.evaluate(model)
        assert after["loss"] < before["loss"]
        assert after["accuracy"] > before["accuracy"]
        assert 0 <= after["accuracy"] <= 1

    def test_a_batch_of_one(self, make: Callable[..., Workload]) -> None:
        workload = make(batch_size=1)
        batch = next(iter(workload.train_batches(0)))
        assert torch.isfinite(workload.loss(workload.model(), batch))


def test_digits_are_the_bundled_scans() -> None:
    data = digits()
    assert len(data.train_labels) + len(data.test_labels) == 1797
    assert data.train_images.dtype == torch.uint8
    assert data.shape == (1, 8, 8)
    assert data.classes == 10
    assert data.train_images.max() == 16


def test_fashion_mnist_is_whole() -> None:
    """The published mean and standard deviation of the training images: 0.2860 and 0.3530."""
    try:
        data = fashion_mnist()
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    assert data.mean.item() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert data.std.item() / 255 == pytest.approx(0.3530, abs=1e-4)
    assert data.train_labels.bincount().tolist() == [6000] * 10


def test_missing_data_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    # urllib keeps the first opener it makes, with the proxies of that moment.
    monkeypatch.setattr(urllib.request, "_opener", None)
    with pytest.raises(UserError) as error:
        fashion_mnist()
    assert str(tmp_path / "nowhere" / "FashionMNIST" / "raw") in str(error.value)
    assert DATA_VARIABLE in str(error.value)


class TestAugmentation:
    images = torch.arange(64 * 3 * 8 * 8, dtype=torch.float32).reshape(64, 3, 8, 8) + 1

    def test_flip_mirrors_about_half(self) -> None:
        flipped = flip(self.images, torch.Generator().manual_seed(0))
        mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, self.images, strict=True)]
        kept = [torch.equal(new, old) for new, old in zip(flipped, self.images, strict=True)]
        assert sum(mirrored) + sum(kept) == 64
        assert 20 < sum(mirrored) < 44

    def test_crop_shifts_each_image_for_itself(self) -> None:
        cropped = crop(self.images, torch.Generator().manual_seed(0))
        assert cropped.shape == self.images.shape
        shifts = set()
        for new, old in zip(cropped, self.images, strict=True):
            # The slow twin: the one window of the padded image that this is.
            padded = torch.nn.functional.pad(old, [PADDING] * 4)
            windows = itertools.product(range(2 * PADDING + 1), repeat=2)
            (found,) = [(y, x) for y, x in windows if torch.equal(padded[:, y : y + 8, x : x + 8], new)]
            shifts.add(found)
        assert len(shifts) > 30
