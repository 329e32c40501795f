"""Image classification: its batches, what is held out, number formats and layouts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from epsearch.core.errors import UserError
from epsearch.study.config import StudyConfig
from epsearch.training.seeding import seed_all
from epsearch.workloads.vision.data import digits
from epsearch.workloads.vision.workload import VisionWorkload

IMAGES = 1437
"""Training images of the digits."""


def make(training: dict[str, Any] | None = None, **section: Any) -> VisionWorkload:
    config = StudyConfig.model_validate(
        {
            "name": "test",
            "workload": {"name": "vision", "dataset": "digits", "model": "cnn", **section},
            "training": training or {},
        }
    )
    return VisionWorkload(config, torch.device("cpu"))


@pytest.mark.parametrize(
    ("size", "sizes"),
    [(1, [1] * IMAGES), (718, [718, 719]), (359, [359] * 3 + [360]), (IMAGES - 1, [IMAGES]), (1000, [1000, 437])],
)
def test_no_image_is_left_alone(size: int, sizes: list[int]) -> None:
    """BatchNorm cannot train on a last batch of one image."""
    assert [len(labels) for _, labels in make({"batch_size": size}).train_batches(0)] == sizes


def test_an_epoch_holds_every_image_once() -> None:
    labels = torch.cat([labels for _, labels in make({"batch_size": 100}).train_batches(0)])
    assert torch.equal(labels.bincount(), digits().train_labels.bincount())


@pytest.mark.parametrize("layout", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_normalised(dtype: torch.dtype, layout: bool) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        workload = make({"batch_size": IMAGES, "channels_last": layout})
        images, labels = next(iter(workload.train_batches(0)))
        assert workload.loss(workload.model(), (images, labels)).dtype == dtype
    finally:
        torch.set_default_dtype(before)
    assert images.dtype == dtype
    assert images.is_contiguous(memory_format=torch.channels_last if layout else torch.contiguous_format)
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std().item() == pytest.approx(1, abs=1e-5)


def test_the_same_images_in_either_layout() -> None:
    batches = []
    for layout in (False, True):
        seed_all(0)
        workload = make({"channels_last": layout}, augment=["crop", "flip"])
        batches.append(next(iter(workload.train_batches(0)))[0])
    assert torch.equal(*batches)


def test_augmentation_comes_before_normalisation() -> None:
    """What a crop fills in is black, as the images' own background, not their mean."""
    images = torch.cat([images for images, _ in make(augment=["crop"]).train_batches(0)])
    plain = torch.cat([images for images, _ in make().train_batches(0)])
    assert images.min() == plain.min()


class Constant(nn.Module):
    """Is certain that everything is a zero."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return torch.tensor([0.0] + [-100.0] * 9).expand(len(images), 10)


def test_validation_takes_the_place_of_the_test_images() -> None:
    data, held = digits(), digits().hold_out(0.25)[0]
    for workload, labels in ((make(), data.test_labels), (make(validation=0.25), held.test_labels)):
        constant = Constant()
        accuracy = workload.evaluate(constant)["accuracy"]
        assert constant.seen == len(labels)
        assert accuracy == pytest.approx((labels == 0).double().mean().item())
        rest = IMAGES - len(labels) if labels is held.test_labels else IMAGES
        assert sum(len(labels) for _, labels in workload.train_batches(0)) == rest


def test_the_seed_draws_the_order_not_what_is_held_out() -> None:
    sums = []
    for seed in (0, 1):
        seed_all(seed)
        images = torch.cat([images for images, _ in make(validation=0.5).train_batches(seed)])
        sums.append(images.sum((1, 2, 3)))
    assert not torch.equal(*sums)
    assert torch.equal(*(one.sort().values for one in sums))


def test_too_small_a_share_is_a_mistake_of_the_study() -> None:
    with pytest.raises(UserError, match=r"workload\.validation: 0\.001 of the training images"):
        make(validation=0.001)
