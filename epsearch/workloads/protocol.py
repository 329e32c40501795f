"""The declarative protocol: what a workload defines so that epsearch's own loop can train it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Workload(Protocol):
    """Model, data and loss; epsearch runs the training loop.

    Random numbers are seeded before each call of `model()` and `train_batches(epoch)`, so all trials of a seed start
    from the same weights and see the same batches in the same order.
    """

    def model(self) -> torch.nn.Module:
        """Return a freshly initialized model, on any device."""

    def train_batches(self, epoch: int) -> Iterable[Any]:
        """Return the training batches of an epoch: tensors, or tuples, lists or dicts of tensors."""

    def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        """Return the training loss of a batch, a scalar tensor."""

    def evaluate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Return metrics on held-out data by name; called in eval mode and without gradients."""
