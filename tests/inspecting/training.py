"""A small network that trains for a few steps, and what makes two measurements equal."""

import torch
from torch import nn

from epsearch import create_optimizer


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 12), nn.ReLU(), nn.Linear(12, 3)
    ).to(dtype)


def train(model, optimizer, steps=3):
    generator = torch.Generator().manual_seed(1)
    dtype = next(model.parameters()).dtype
    for _ in range(steps):
        x = torch.randn(16, 1, 8, 8, generator=generator).to(dtype)
        classes = torch.randint(0, 3, (16,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x).float(), classes).backward()
        optimizer.step()


def trained(name="adam", dtype=torch.float32, **keywords):
    model = network(dtype)
    optimizer = create_optimizer(name, model.parameters(), lr=1e-3, **keywords)
    train(model, optimizer)
    return model, optimizer
