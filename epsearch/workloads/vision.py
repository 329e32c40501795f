"""Image classification: data that lives on the device as uint8, normalised and augmented there in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.nn import functional as F

from epsearch.loading import load_object
from epsearch.workloads.table import AUGMENTATIONS, DATASETS, MODELS

EVALUATION_BATCH = 1024

ImageBatch = tuple[torch.Tensor, torch.Tensor]


class VisionWorkload:
    """A classifier on images; reports `accuracy` (0 to 1) and `loss` (mean cross-entropy) on the test images."""

    def __init__(self, dataset: str, model: str, augment: Sequence[str], batch_size: int, device: torch.device) -> None:
        self._data = load_object(DATASETS["vision"][dataset])().to(device)
        self._make_model = load_object(MODELS["vision"][model])
        self._augmentations = [load_object(AUGMENTATIONS[name]) for name in augment]
        self._batch_size = batch_size
        self._device = device

    def model(self) -> torch.nn.Module:
        """The network for the data's image shape and number of classes."""
        network: torch.nn.Module = self._make_model(self._data.shape, self._data.classes)
        return network

    def train_batches(self, epoch: int) -> Iterator[ImageBatch]:
        """Shuffled batches of (images, labels): (B, C, H, W) normalised floats and (B,) class indices."""
        # A generator of its own: what the model draws (dropout) must not shift the order of the data.
        generator = torch.Generator(self._data.train_images.device).manual_seed(torch.initial_seed())
        order = torch.randperm(len(self._data.train_labels), generator=generator, device=generator.device)
        for indices in torch.split(order, self._batch_size):
            images = self._data.train_images[indices]
            for augmentation in self._augmentations:
                images = augmentation(images, generator)
            yield (
                self._data.normalise(images.to(self._device)),
                self._data.train_labels[indices].to(self._device),
            )

    def loss(self, model: torch.nn.Module, batch: ImageBatch) -> torch.Tensor:
        """Mean cross-entropy."""
        images, labels = batch
        return F.cross_entropy(model(images), labels)

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Accuracy and loss over all test images."""
        correct = torch.zeros((), device=self._device)
        loss = torch.zeros((), device=self._device)
        for images, labels in zip(
            torch.split(self._data.test_images, EVALUATION_BATCH),
            torch.split(self._data.test_labels, EVALUATION_BATCH),
            strict=True,
        ):
            targets = labels.to(self._device)
            logits = model(self._data.normalise(images.to(self._device)))
            correct += (logits.argmax(1) == targets).sum()
            loss += F.cross_entropy(logits, targets, reduction="sum")
        count = len(self._data.test_labels)
        return {"accuracy": correct.item() / count, "loss": loss.item() / count}
