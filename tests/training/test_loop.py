"""Our loop: what a member of a list learns is what it would learn alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import nn

from epsearch.records.trial import Cell
from epsearch.study.config import StudyConfig
from epsearch.training.loop import to_device, train
from epsearch.training.run import Run
from epsearch.training.seeding import seed_all

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
    # The rate of the epoch that is reported.
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4])


class Plain(Regression):
    """No dropout, no BatchNorm, and every epoch the same batches: what depends on the batch's size alone."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.models: list[nn.Module] = []

    def model(self) -> nn.Module:
        self.models.append(nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)))
        return self.models[-1]

    def train_batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for x in self.x.split(self.batch_size):
            yield x, 2 * x


def reported(workload: Regression, study: StudyConfig, cell: Cell = CELLS[1]) -> list[float]:
    told: list[float] = []
    train(workload, study, [Run(study, cell, 0, CPU, on_report=lambda value: told.append(value) is None)])
    return told


@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 4), (32, 5)])
def test_accumulated_batches_are_one_large_one(batch_size: int, accumulate: int) -> None:
    """Also where an epoch ends in the middle of a group: its mean is over the batches that there are."""
    large = reported(Plain(min(64, batch_size * accumulate)), config())
    assert reported(Plain(batch_size), config(training={"accumulate": accumulate})) == pytest.approx(large, rel=1e-5)
    assert reported(Plain(batch_size), config()) != pytest.approx(large, rel=1e-5)


def test_gradients_are_clipped_to_their_norm() -> None:
    """Under SGD of lr 1 without momentum's history, the first step is as long as the clipped gradient."""
    workload = Plain(64)
    study = config(training={"epochs": 1, "clip_norm": 1e-3}, optimizer={"beta1": 0.0})
    reported(workload, study, Cell(optimizer="sgd_momentum", lr=1.0))
    trained = nn.utils.parameters_to_vector(workload.models[0].parameters())
    seed_all(0)
    step = trained - nn.utils.parameters_to_vector(Plain(64).model().parameters())
    assert step.norm().item() == pytest.approx(1e-3, rel=1e-3)


class Images:
    """A convolution on random images of two classes that differ in their mean."""

    def __init__(self) -> None:
        self.formats: list[bool] = []
        self.dtypes: set[torch.dtype] = set()
        self.labels = torch.arange(32) % 2
        self.images = (
            torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + self.labels[:, None, None, None]
        )

    def model(self) -> nn.Module:
        # Without a bias, whose gradient BatchNorm makes zero but for rounding.
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2)
        )

    def train_batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from zip(self.images.split(8), self.labels.split(8), strict=True)

    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        self.formats.append(model[0].weight.is_contiguous(memory_format=torch.channels_last))  # type: ignore[index, operator]
        logits = model(batch[0])
        self.dtypes.add(logits.dtype)
        assert model[0].weight.dtype == torch.float32  # type: ignore[index]
        return nn.functional.cross_entropy(logits, batch[1])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        logits = model(self.images)
        self.dtypes.add(logits.dtype)
        return {"loss": nn.functional.cross_entropy(logits.float(), self.labels).item()}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_is_the_forward_and_backward_pass_alone(precision: str) -> None:
    workload = Images()
    mixed = reported(workload, config(training={"precision": precision}))  # type: ignore[arg-type]
    assert workload.dtypes == {getattr(torch, precision)}
    full = reported(Images(), config())  # type: ignore[arg-type]
    assert mixed != full
    assert mixed == pytest.approx(full, abs=0.02)


def test_a_float16_probe_reads_gradients_unscaled() -> None:
    """ε is compared with ẑ of the gradient, not of the loss scale's multiple of it."""

    def range_of(precision: str) -> tuple[float, float]:
        study = config(training={"precision": precision})
        run = Run(study, CELLS[0], 0, CPU, probing=True)
        train(Images(), study, [run])  # type: ignore[arg-type]
        return run.measure().range.lower, run.measure().range.upper

    assert range_of("float16") == range_of("float32")


def test_channels_last_changes_where_numbers_lie_and_nothing_else() -> None:
    laid_out, plain = Images(), Images()
    last = reported(laid_out, config(training={"channels_last": True}))  # type: ignore[arg-type]
    assert last == pytest.approx(reported(plain, config()), rel=1e-3)  # type: ignore[arg-type]
    assert (set(laid_out.formats), set(plain.formats)) == ({True}, {False})
    run = Run(config(training={"channels_last": True}), CELLS[0], 0, CPU, probing=True)
    train(Images(), config(training={"channels_last": True}), [run])  # type: ignore[arg-type]
    assert run.measure().layers[0].numel == 8 * 3 * 9


@pytest.mark.thorough
def test_a_compiled_model_learns_what_it_would_otherwise() -> None:
    compiled = config(training={"compile": True, "epochs": 2})
    # Dropout would draw other random numbers.
    assert reported(Plain(16), compiled) == pytest.approx(reported(Plain(16), config(training={"epochs": 2})), rel=1e-4)
    assert losses(CELLS[:2], compiled) == [losses([cell], compiled)[0] for cell in CELLS[:2]]
    run = Run(compiled, CELLS[0], 0, CPU, probing=True)
    train(Regression(), compiled, [run])
    assert [layer.name for layer in run.measure().layers][:2] == ["0.weight", "0.bias"]


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
