"""Models for tabular data. Each takes the number of columns and the number of outputs."""

from __future__ import annotations

from torch import nn


def linear(features: int, outputs: int) -> nn.Module:
    """Logistic regression, or linear regression for numeric targets."""
    return nn.Linear(features, outputs)


def mlp(features: int, outputs: int) -> nn.Module:
    """Multi-layer perceptron with two hidden layers of 64 units and ReLU."""
    return nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))
