"""Small networks for small images. Each takes (channels, height, width) and the number of classes."""

from __future__ import annotations

import math

from torch import nn

Shape = tuple[int, int, int]


def mlp(shape: Shape, classes: int) -> nn.Module:
    """Multi-layer perceptron with hidden layers of 256 and 128 units and ReLU."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def cnn(shape: Shape, classes: int) -> nn.Module:
    """Two 3 × 3 convolutions of 16 and 32 channels, each with ReLU and 2 × 2 max-pooling, and a linear layer."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), classes),
    )
