"""What every workload of the table must do: each dataset with a small model, each model on a little real data."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from epsearch.core.errors import DriverGone, UserError
from epsearch.records.trial import Cell
from epsearch.registry.workloads import WORKLOADS
from epsearch.study.config import StudyConfig
from epsearch.study.file import load_study
from epsearch.training.checkpoint import TrialCheckpoint
from epsearch.training.loop import to_device, train
from epsearch.training.precision import set_precision
from epsearch.training.run import Run
from epsearch.training.seeding import seed_all
from epsearch.workloads import Workload, create_workload
from tests.workloads.real_data import skip_if_not_there

CPU = torch.device("cpu")
OTHERS = [torch.device("meta"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
"""Meta has no numbers but refuses, as a GPU does, to meet a tensor of the CPU."""

LITTLE = {"vision": "folder", "language": "text", "tabular": "iris"}
"""Of each kind the dataset that every model is tried on, and the model that every dataset is."""
LIGHT = {"vision": "mlp", "language": "lstm_small", "tabular": "mlp"}

ROWS = sorted(
    {(kind, dataset, LIGHT[kind]) for kind, row in WORKLOADS.items() for dataset in row.datasets}
    | {(kind, LITTLE[kind], model) for kind, row in WORKLOADS.items() for model in row.models}
    | {("vision", "folder", "torchvision/squeezenet1_1")}
)
IMAGES_OF_A_CLASS = 6


@pytest.fixture(scope="module")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data of a user's own for the datasets that take a path: images whose class is a color, a real text."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for part, (color, kind) in itertools.product(("train", "test"), enumerate(("cat", "ship", "truck"))):
        target = folder / part / kind
        target.mkdir(parents=True)
        for number in range(IMAGES_OF_A_CLASS):
            pixels = noise.integers(0, 128, (32, 32, 3), dtype=np.uint8)
            pixels[..., color] += 128
            Image.fromarray(pixels).save(target / f"{number}.png")
    text = tmp_path_factory.mktemp("text") / "excerpt.txt"
    text.write_text(Path(os.__file__).read_text()[:20_000])
    return {"folder": folder, "text": text}


@pytest.fixture(params=ROWS, ids="-".join)
def make(request: pytest.FixtureRequest, own_data: dict[str, Path]) -> Callable[..., Workload]:
    """Makes the workload; skips where its data cannot be had."""
    name, dataset, model = request.param

    def make(batch_size: int = 8, device: torch.device = CPU) -> Workload:
        path = {"path": str(own_data[dataset])} if dataset in own_data else {}
        config = study(name, dataset, model, batch_size, **path)
        skip_if_not_there(dataset)
        return create_workload(config, device)

    return make


def study(
    name: str = "vision", dataset: str = "digits", model: str = "mlp", batch_size: int = 8, **section: Any
) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "name": "test",
            "workload": {"name": name, "dataset": dataset, "model": model, **section},
            "training": {"batch_size": batch_size, "epochs": 2},
            "metric": {"name": "loss"},
        }
    )


def tensors(batch: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(batch) if isinstance(leaf, torch.Tensor)]


def batches(workload: Workload, seed: int = 3, epoch: int = 1) -> Iterator[Any]:
    seed_all(seed, epoch)
    return iter(workload.train_batches(epoch))


class Short:
    """The first batches of an epoch, and a quick look at the model in the place of the whole test part."""

    def __init__(self, workload: Workload, count: int) -> None:
        self._workload, self._count = workload, count
        self.modes: list[bool] = []
        self.model, self.loss = workload.model, workload.loss

    def train_batches(self, epoch: int) -> Iterator[Any]:
        return itertools.islice(self._workload.train_batches(epoch), self._count)

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        assert not torch.is_grad_enabled()
        self.modes += [module.training for module in model.modules()]
        seed_all(0)
        batch = next(iter(self._workload.train_batches(0)))
        return {"loss": self._workload.loss(model, batch).item()}


class TestEveryWorkload:
    @pytest.mark.thorough
    def test_same_weights_and_batches_for_a_seed(self, make: Callable[..., Workload]) -> None:
        """Every cell of a seed starts alike and sees the same, whatever the model drew in between."""
        workload, seen = make(), []
        for noise in (0, 100):
            seed_all(3)
            weights = [parameter.detach().clone() for parameter in workload.model().parameters()]
            order = batches(workload)
            first = next(order)
            torch.rand(noise)
            seen.append([*weights, *tensors(first), *tensors(next(order))])
        for one, other in zip(*seen, strict=True):
            assert torch.equal(one, other)

    @pytest.mark.thorough
    def test_another_epoch_and_another_seed_are_in_another_order(self, make: Callable[..., Workload]) -> None:
        workload = make()
        orders = [list(itertools.islice(batches(workload, *key), 3)) for key in ((0, 0), (0, 1), (1, 0))]
        assert not same(orders[0], orders[1])
        assert not same(orders[0], orders[2])

    @pytest.mark.thorough
    def test_learns(self, make: Callable[..., Workload]) -> None:
        workload = make()
        seed_all(0)
        model = workload.model()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        # The same few batches over and over: what can be learnt is learnt, by the largest model too.
        chosen = list(itertools.islice(batches(workload), 2))
        losses = []
        for batch in chosen * 4:
            optimizer.zero_grad()
            loss = workload.loss(model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert sum(losses[-2:]) < sum(losses[:2])

    @pytest.mark.thorough
    def test_evaluates_what_it_reports(self, make: Callable[..., Workload], request: pytest.FixtureRequest) -> None:
        workload = make()
        kind, dataset, _ = request.node.callspec.params["make"]
        model = workload.model().eval()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        with torch.no_grad():
            metrics, again = workload.evaluate(model), workload.evaluate(model)
        row = WORKLOADS[kind]
        assert set(metrics) == set(row.datasets[dataset].reports or row.reports)
        assert metrics == again
        assert all(type(value) is float for value in metrics.values())
        assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))

    @pytest.mark.thorough
    def test_a_batch_of_one(self, make: Callable[..., Workload]) -> None:
        workload = make(batch_size=1)
        model = workload.model().train()
        loss = workload.loss(model, next(batches(workload)))
        loss.backward()
        assert torch.isfinite(loss)

    @pytest.mark.parametrize("device", OTHERS, ids=str)
    def test_moves_to_the_device(self, make: Callable[..., Workload], device: torch.device) -> None:
        """Model, batch and loss: nothing is left behind, nothing is made elsewhere."""
        workload = make()
        model = workload.model().to(device)
        order = batches(workload)
        for batch in (next(order), next(order)):
            moved = to_device(batch, device)
            assert {tensor.device.type for tensor in tensors(moved)} == {device.type}
            loss = workload.loss(model, moved)
            assert loss.shape == ()
            assert loss.device.type == device.type
            loss.backward()

    @pytest.mark.thorough
    def test_resumes_exactly(self, make: Callable[..., Workload], tmp_path: Path) -> None:
        """In float64, killed in its second epoch: the rest is what it would have been. Evaluation is in eval mode."""
        set_precision("float64")
        try:
            workload = Short(make(batch_size=4), 2)
            whole = reports(workload, tmp_path / "never", None)
            with pytest.raises(DriverGone):
                reports(workload, tmp_path / "c.pt", 2)
            assert reports(workload, tmp_path / "c.pt", None) == whole
            assert len(whole) == 2
            assert workload.modes
            assert not any(workload.modes)
        finally:
            set_precision("float32")


def reports(workload: Workload, path: Path, stop_at: int | None) -> list[float]:
    """The loss after each of two epochs of two batches; `stop_at`: where the process is killed."""
    checkpoint = TrialCheckpoint(path, 0, CPU)
    told: list[float] = []
    checkpoint.values.append(told)

    def on_report(value: float) -> bool:
        told.append(value)
        if len(told) == stop_at:
            raise DriverGone
        return True

    cell = Cell(optimizer="adam", lr=1e-3, eps=1e-8, beta2=0.999)
    run = Run(study(), cell, 0, CPU, on_report=on_report, checkpoint=checkpoint)
    train(workload, study(), [run])
    return told


def same(one: list[Any], other: list[Any]) -> bool:
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


@pytest.mark.parametrize(
    "workload",
    [
        "{name: language, dataset: text, path: nothing.txt, model: lstm_small}",
        "{name: vision, dataset: folder, path: nothing, model: cnn}",
    ],
)
def test_data_that_are_not_there_are_told_with_the_line_that_names_them(tmp_path: Path, workload: str) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(f"name: s\nworkload: {workload}\nmetric: {{name: loss}}\n")
    config = load_study(study)
    with pytest.raises(UserError) as error:
        create_workload(config, CPU)
    assert str(error.value).startswith(f"{study}, line 2: workload.path: ")
    assert str(tmp_path / "nothing") in str(error.value)
