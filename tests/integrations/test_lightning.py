"""The callback in Lightning's own Trainer, imported by both of its names."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from epsearch import ProbeHistory, UserError, measure
from tests.integrations import toy

EpsilonRecorder = pytest.importorskip("epsearch.integrations.lightning").EpsilonRecorder

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def pl(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def module(pl: Any, make: Any = toy.optimizer) -> Any:
    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = toy.network()

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return nn.functional.mse_loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return make(self.network)

    return Module()


def fit(pl: Any, folder: Path, recorder: Any, epochs: int, made: Any = None, **keywords: Any) -> Any:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[recorder],
        **{"enable_checkpointing": False, "logger": False, **keywords},
    )
    trainer.fit(made or module(pl), torch.utils.data.DataLoader(list(toy.batches()), batch_size=None))
    return trainer


def test_history_is_that_of_a_plain_loop(pl: Any, tmp_path: Path) -> None:
    recorder = EpsilonRecorder(tmp_path / "history.json")
    fit(pl, tmp_path, recorder, 3)
    history, result = toy.plain(3)
    assert recorder.history == history
    assert recorder.result.range == result.range
    assert [layer.p98 for layer in recorder.result.layers] == [layer.p98 for layer in result.layers]
    assert recorder.result.layers[0].name == "network.0.weight"
    assert ProbeHistory.load(tmp_path / "history.json") == history


def test_one_epoch_is_a_probe(tmp_path: Path) -> None:
    pl = importlib.import_module("lightning.pytorch")
    recorder = EpsilonRecorder()
    with pytest.raises(UserError, match="pass this callback to a trainer"):
        _ = recorder.result
    fit(pl, tmp_path, recorder, 1)
    assert recorder.result.range.grid() == toy.plain(1)[1].range.grid()


def test_a_resumed_fit_goes_on_with_the_file(pl: Any, tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    trainer = fit(pl, tmp_path, EpsilonRecorder(file), 2, enable_checkpointing=True)
    checkpoint = tmp_path / "after2.ckpt"
    trainer.save_checkpoint(checkpoint)
    # An epoch that was recorded after the checkpoint was written is trained again.
    fit(pl, tmp_path, EpsilonRecorder(file), 3)
    recorder = EpsilonRecorder(file)
    resumed = pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[recorder],
    )
    loader = torch.utils.data.DataLoader(list(toy.batches()), batch_size=None)
    resumed.fit(module(pl), loader, ckpt_path=checkpoint)
    assert recorder.history == toy.plain(4)[0]
    # And a fit from the start begins a new history.
    recorder = EpsilonRecorder(file)
    fit(pl, tmp_path, recorder, 1)
    assert ProbeHistory.load(file) == recorder.history == toy.plain(1)[0]


def test_the_second_of_two_optimizers(tmp_path: Path) -> None:
    pl = importlib.import_module("lightning.pytorch")

    class Two(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.one, self.two = nn.Linear(6, 1), nn.Linear(6, 1)

        def training_step(self, batch: Any, index: int) -> None:
            for optimizer, layer in zip(self.optimizers(), (self.one, self.two), strict=True):
                optimizer.zero_grad()
                self.manual_backward(nn.functional.mse_loss(layer(batch[0]), batch[1]))
                optimizer.step()
                # What Lightning hands out is a wrapper; it is read all the same.
                assert measure(optimizer).optimizer in ("SGD", "Adam") if layer is self.two else True

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.one.parameters(), lr=0.1), toy.optimizer(self.two)]

    recorder = EpsilonRecorder(optimizer=1)
    fit(pl, tmp_path, recorder, 2, Two())
    assert [layer.name for layer in recorder.result.layers] == ["two.weight", "two.bias"]
    assert recorder.history.optimizer == "Adam"


def test_an_unknown_optimizer_is_said_before_the_first_step(tmp_path: Path) -> None:
    pl = importlib.import_module("lightning.pytorch")
    made = module(pl, lambda model: torch.optim.SGD(model.parameters(), lr=0.1))
    before = [parameter.clone() for parameter in made.parameters()]
    with pytest.raises(UserError, match="cannot read the denominator term of torch"):
        fit(pl, tmp_path, EpsilonRecorder(), 1, made)
    assert all(torch.equal(one, other) for one, other in zip(before, made.parameters(), strict=True))


def test_the_trainers_logger_gets_every_epoch(pl: Any, tmp_path: Path) -> None:
    logger = importlib.import_module(f"{pl.__name__}.loggers").CSVLogger(tmp_path)
    fit(pl, tmp_path, EpsilonRecorder(), 2, logger=logger)
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(0 <= float(row["epsearch/adaptive_fraction"]) <= 1 for row in rows)
    logger = importlib.import_module(f"{pl.__name__}.loggers").CSVLogger(tmp_path / "quiet")
    fit(pl, tmp_path, EpsilonRecorder(log=False), 1, logger=logger)
    assert not (Path(logger.log_dir) / "metrics.csv").exists()
