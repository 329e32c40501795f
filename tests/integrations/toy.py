"""A model and data that both trainers and a plain loop go through in the same order, from the same weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from epsearch import ProbeHistory, ProbeResult, Recorder

X, Y = torch.randn(48, 6, generator=torch.Generator().manual_seed(0)), torch.arange(48.0)[:, None] / 48


def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return zip(X.split(8), Y.split(8), strict=True)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-2, eps=1e-6)


def plain(epochs: int) -> tuple[ProbeHistory, ProbeResult]:
    """What the loop that everyone writes records."""
    model = network()
    adam = optimizer(model)
    recorder = Recorder(adam, model)
    for _ in range(epochs):
        for x, y in batches():
            adam.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            adam.step()
        recorder.record()
    return recorder.history, recorder.result
