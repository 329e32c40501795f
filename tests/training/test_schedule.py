"""The learning rate over a training, against numbers worked out by hand and against torch's own schedulers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from epsearch.study.schema.training import TrainingSection
from epsearch.training.schedule import lr_factor

EPOCHS, STEPS = 10, 4


def factors(**settings: Any) -> list[float]:
    """At the first step of each epoch."""
    training = TrainingSection.model_validate({"epochs": EPOCHS, **settings})
    return [lr_factor(training, epoch, epoch * STEPS) for epoch in range(EPOCHS)]


def of_torch(make: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(EPOCHS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_constant_unless_said() -> None:
    assert factors() == [1.0] * EPOCHS


def test_step_decay_is_torchs() -> None:
    twin = of_torch(lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], 0.2))
    assert factors(lr_decay={"factor": 0.2, "at": [3, 7]}) == pytest.approx(twin)


def test_cosine_is_torchs() -> None:
    twin = of_torch(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS))
    assert factors(lr_decay="cosine") == pytest.approx(twin)


def test_warmup_is_by_the_step() -> None:
    training = TrainingSection(warmup=4)
    assert [lr_factor(training, 0, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_warmup_and_decay_multiply() -> None:
    training = TrainingSection.model_validate({"warmup": 10, "lr_decay": {"factor": 0.5, "at": [1]}})
    assert lr_factor(training, 1, 4) == 0.25
