"""Classification and regression on tabular data."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from epsearch.study.config import StudyConfig
from epsearch.workloads.create import load_dataset, model_maker
from epsearch.workloads.tabular.data import TableData

TableBatch = tuple[torch.Tensor, torch.Tensor]


class TabularWorkload:
    """Classification reports `accuracy` (0 to 1) and `loss` (mean cross-entropy) on the test rows.

    Regression reports `loss`, the mean squared error in units of the training targets' variance, and `r2`, the
    explained fraction of the test targets' variance.
    """

    def __init__(self, config: StudyConfig, device: torch.device) -> None:
        section = config.workload
        data: TableData = load_dataset(config)
        if isinstance(section.validation, float):
            data = data.hold_out(section.validation)
        self._data = data.normalized().to(device)
        self._make_model = model_maker(section)
        self._batch_size = config.training.batch_size

    def model(self) -> torch.nn.Module:
        """Create the model for the data's columns and outputs."""
        return self._make_model(self._data.features, self._data.outputs)

    def train_batches(self, epoch: int) -> Iterator[TableBatch]:
        """Shuffled batches of (rows, targets): (B, features) floats and (B,) class indices or floats."""
        # A separate generator: random numbers drawn by the model (dropout) must not change the order of the data.
        generator = torch.Generator(self._data.train_rows.device).manual_seed(torch.initial_seed())
        order = torch.randperm(len(self._data.train_rows), generator=generator, device=generator.device)
        for indices in torch.split(order, self._batch_size):
            yield self._data.train_rows[indices], self._data.train_targets[indices]

    def loss(self, model: torch.nn.Module, batch: TableBatch) -> torch.Tensor:
        """Mean cross-entropy, or mean squared error."""
        rows, targets = batch
        return self._loss(model(rows), targets)

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Accuracy and loss, or loss and r², over all test rows."""
        targets = self._data.test_targets
        outputs = model(self._data.test_rows)
        loss = self._loss(outputs, targets)
        if self._data.is_regression:
            return {"loss": loss.item(), "r2": (1 - loss / targets.var(correction=0)).item()}
        return {"accuracy": (outputs.argmax(1) == targets).double().mean().item(), "loss": loss.item()}

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self._data.is_regression:
            return F.mse_loss(outputs.squeeze(1), targets)
        return F.cross_entropy(outputs, targets)
