"""Image classification: the data stays on the device as uint8, and is normalized and augmented there in batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.registry.workloads import AUGMENTATIONS
from epsearch.study.config import StudyConfig
from epsearch.workloads.create import load_dataset, model_maker
from epsearch.workloads.vision.data import ImageData

EVALUATION_BATCH = 1024

ImageBatch = tuple[torch.Tensor, torch.Tensor]


class VisionWorkload:
    """Image classification; reports `accuracy` (0 to 1) and `loss` (mean cross-entropy).

    Both are measured on the test images, or on the training images that `workload.validation` holds out.
    """

    def __init__(self, config: StudyConfig, device: torch.device) -> None:
        section = config.workload
        data: ImageData = load_dataset(config)
        left = torch.arange(len(data.train_labels))
        if section.validation is not None:
            try:
                data, left = data.hold_out(float(section.validation))
            except UserError as error:
                raise UserError(f"{config.where('workload.validation')}: {error}") from error
        self._data = data.to(device)
        self._left = left.to(self._data.train_images.device)
        self._make_model = model_maker(section)
        self._augmentations = [load_object(AUGMENTATIONS[name]) for name in section.augment]
        self._batch_size = config.training.batch_size
        self._layout = torch.channels_last if config.training.channels_last else torch.contiguous_format
        self._device = device

    def model(self) -> torch.nn.Module:
        """Create the model for the data's image shape and number of classes.

        Raises:
            UserError: the model does not support such images.
        """
        return self._make_model(self._data.shape, self._data.classes)

    def train_batches(self, epoch: int) -> Iterator[ImageBatch]:
        """Shuffled batches of (images, labels): (B, C, H, W) normalized floats and (B,) class indices.

        A single image left over joins the last full batch: BatchNorm cannot train on one image.
        """
        # A separate generator: random numbers drawn by the model (dropout) must not change the order of the data.
        generator = torch.Generator(self._left.device).manual_seed(torch.initial_seed())
        order = self._left[torch.randperm(len(self._left), generator=generator, device=generator.device)]
        for indices in _batches(order, self._batch_size):
            images = self._data.train_images.index_select(0, indices)
            for augmentation in self._augmentations:
                images = augmentation(images, generator)
            yield self._inputs(images), self._data.train_labels[indices].to(self._device)

    def loss(self, model: torch.nn.Module, batch: ImageBatch) -> torch.Tensor:
        """Mean cross-entropy."""
        images, labels = batch
        return F.cross_entropy(model(images), labels)

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Accuracy and loss over all held-out images."""
        correct = torch.zeros((), device=self._device)
        loss = torch.zeros((), device=self._device)
        for images, labels in zip(
            torch.split(self._data.test_images, EVALUATION_BATCH),
            torch.split(self._data.test_labels, EVALUATION_BATCH),
            strict=True,
        ):
            targets = labels.to(self._device)
            logits = model(self._inputs(images))
            correct += (logits.argmax(1) == targets).sum()
            loss += F.cross_entropy(logits, targets, reduction="sum")
        count = len(self._data.test_labels)
        return {"accuracy": correct.item() / count, "loss": loss.item() / count}

    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) of bytes as input for the model."""
        return self._data.normalize(images.to(self._device)).contiguous(memory_format=self._layout)


def _batches(order: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Split `order` into batches of `size`; the last has 2 to `size` + 1 items unless `size` is 1."""
    batches = list(torch.split(order, size))
    if size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
