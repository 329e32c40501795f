"""Our loop: what a member of a list learns is what it would learn alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import nn

from epsearch.config import StudyConfig
from epsearch.records import Cell
from epsearch.training.loop import to_device, train
from epsearch.training.run import Run

CPU = torch.device("cpu")


def config(**sections: dict[str, object]) -> StudyConfig:
    base: dict[str, dict[str, object]] = {
        "workload": {"object": "my:workload"},
        "training": {"epochs": 4},
        "metric": {"name": "loss"},
    }
    return StudyConfig.model_validate(
        {"name": "test"} | {key: base.get(key, {}) | sections.get(key, {}) for key in {*base, *sections}}
    )


class Regression:
    """A noisy line through dropout and BatchNorm: everything that could couple members or depend on order."""

    def __init__(self) -> None:
        self.x = torch.linspace(-1, 1, 64)[:, None]
        self.modes: list[bool] = []
        self.first_batches: list[torch.Tensor] = []

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))

    def train_batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(64)
        for part in order.split(16):
            x = self.x[part] + 0.01 * torch.randn(len(part), 1)
            if part is order[:16]:
                self.first_batches.append(x)
            yield x, 2 * self.x[part]

    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        assert not torch.is_grad_enabled()
        self.modes.append(model.training)
        return {"loss": nn.functional.mse_loss(model(self.x), 2 * self.x).item()}


CELLS = [Cell(optimizer="adam", lr=lr, eps=1e-8, beta2=0.999) for lr in (1e-3, 1e-2, 1e-1)]


def losses(cells: Sequence[Cell], study: StudyConfig, seed: int = 0, stop: float | None = None) -> list[list[float]]:
    """The loss of every epoch for every cell, trained together; those of lr `stop` are told to end at once."""
    told: list[list[float]] = [[] for _ in cells]

    def listener(index: int) -> Run:
        def on_report(value: float) -> bool:
            told[index].append(value)
            return cells[index].lr != stop

        return Run(study, cells[index], seed, CPU, on_report=on_report)

    train(Regression(), study, [listener(index) for index in range(len(cells))])
    return told


def test_members_learn_what_they_would_alone() -> None:
    study = config()
    together = losses(CELLS, study)
    alone = [losses([cell], study)[0] for cell in CELLS]
    assert together == alone
    assert [len(values) for values in together] == [4, 4, 4]


def test_a_member_that_ends_leaves_the_others_as_they_were() -> None:
    study = config()
    whole = losses(CELLS, study)
    part = losses(CELLS, study, stop=1e-2)
    assert part[1] == whole[1][:1]
    assert [part[0], part[2]] == [whole[0], whole[2]]


def test_a_seed_is_a_run() -> None:
    study = config()
    assert losses(CELLS[:1], study, seed=5) == losses(CELLS[:1], study, seed=5)
    assert losses(CELLS[:1], study, seed=5) != losses(CELLS[:1], study, seed=6)


def test_step_decay_follows_the_schedule() -> None:
    """After the second epoch lr is a tenth, which is the run without decay until then and another after."""
    plain = losses(CELLS[1:2], config())[0]
    decayed = losses(CELLS[1:2], config(training={"lr_decay": {"factor": 0.1, "at": [2]}}))[0]
    assert decayed[:2] == plain[:2]
    assert decayed[2] != plain[2]
    rates = []
    study = config(training={"lr_decay": {"factor": 0.1, "at": [2, 3]}})
    run = Run(study, CELLS[1], 0, CPU, on_report=lambda _: rates.append(group["lr"]) or True)
    build, group = run.optimizer, {}

    def spy(*arguments: object, **keywords: object) -> torch.optim.Optimizer:
        nonlocal group
        optimizer = build(*arguments, **keywords)  # type: ignore[arg-type]
        group = optimizer.param_groups[0]
        return optimizer

    run.optimizer = spy  # type: ignore[method-assign]
    train(Regression(), study, [run])
    # Reported after the schedule's step: the rate of the epoch to come.
    assert rates == pytest.approx([1e-2, 1e-3, 1e-4, 1e-4])


def test_weight_decay_reaches_the_optimizer() -> None:
    assert losses(CELLS[:1], config()) != losses(CELLS[:1], config(optimizer={"weight_decay": 0.1}))


def test_evaluation_is_in_eval_mode_and_training_is_not() -> None:
    workload = Regression()
    train(workload, config(), [Run(config(), CELLS[0], 0, CPU)])
    assert workload.modes == [False] * 4


def test_a_loss_that_is_not_finite_ends_the_run_at_once() -> None:
    class Breaks(Regression):
        steps = 0

        def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            self.steps += 1
            return super().loss(model, batch) * (math.nan if self.steps == 6 else 1)

    workload = Breaks()
    told: list[float] = []
    run = Run(config(), CELLS[0], 0, CPU, on_report=lambda value: told.append(value) is None)
    train(workload, config(), [run])
    assert run.diverged
    assert workload.steps == 6, "an epoch is four steps: the second one is left in the middle"
    assert len(told) == 1


def test_probe_trains_its_epochs_and_reads_the_optimizer() -> None:
    study = config(probe={"epochs": 2})
    run = Run(study, CELLS[0], 0, CPU, probing=True)
    workload = Regression()
    train(workload, study, [run])
    result = run.measure()
    assert workload.modes == [], "the probe does not evaluate"
    assert result.settings["steps"] == 8
    assert result.settings["batches_per_epoch"] == 4
    assert [layer.name for layer in result.layers] == ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]


def test_members_that_are_recorded_learn_and_show_what_they_would_alone() -> None:
    study = config()

    def recorded(cells: Sequence[Cell]) -> tuple[list[Run], list[list[float]]]:
        told: list[list[float]] = [[] for _ in cells]
        runs = [
            Run(study, cell, 0, CPU, recording=True, on_report=lambda value, kept=kept: kept.append(value) is None)
            for cell, kept in zip(cells, told, strict=True)
        ]
        train(Regression(), study, runs)
        return runs, told

    together, told = recorded(CELLS)
    assert told == losses(CELLS, study)
    for cell, run in zip(CELLS, together, strict=True):
        assert run.history is not None
        assert run.history == recorded([cell])[0][0].history
        assert [reading.epoch for reading in run.history.epochs] == [1, 2, 3, 4]
        assert run.history.settings["lr"] == cell.lr


def test_to_device_keeps_the_shape_of_a_batch() -> None:
    batch = {"x": [torch.zeros(2), (torch.ones(1), "text")], "n": 3}
    moved = to_device(batch, torch.device("meta"))
    assert moved["x"][0].device.type == "meta"
    assert moved["x"][1][0].device.type == "meta"
    assert moved["x"][1][1] == "text"
    assert moved["n"] == 3
