"""RunReporter: an epoch's metrics reach the run, and a run that is over stops the trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from epsearch import UserError
from epsearch.integrations.reporting import Reporting
from epsearch.probing.lr_curve import rising_lrs
from epsearch.probing.lr_sweep import LrSweep
from epsearch.records.trial import Cell
from epsearch.study.config import StudyConfig
from epsearch.training.run import Run
from tests.integrations import toy

pytestmark = pytest.mark.filterwarnings("ignore")

EPOCHS = 4


class RecordedRun:
    """A run that records its reports and ends after `until` reports."""

    def __init__(self, until: int | None = None, metric: str = "loss", **keywords: Any) -> None:
        self.values: list[float] = []
        self._until = until
        section = {"name": metric, "goal": "minimize"}
        workload = {"train": "my:train"}
        study = {"name": "test", "workload": workload, "metric": section, "training": {"epochs": EPOCHS}}
        cell = Cell(optimizer="adam", lr=1e-2, eps=1e-6, beta2=0.999)
        config, device = StudyConfig.model_validate(study), torch.device("cpu")
        self.run = Run(config, cell, 0, device, on_report=self._report, **keywords)

    def _report(self, value: float) -> bool:
        self.values.append(value)
        return len(self.values) != self._until


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"accuracy": 0.5, "train_loss": 2.0}, 0.5),
        ({"accuracy": 0.9, "val_accuracy": torch.tensor(0.5)}, 0.5),
        ({"eval_loss": 1.0, "eval_accuracy": 0.5}, 0.5),
        ({"val/accuracy": 0.5}, 0.5),
    ],
)
def test_the_studys_metric_is_found(metrics: dict[str, Any], expected: float) -> None:
    study = RecordedRun(metric="accuracy")
    assert Reporting(study.run).report_epoch(metrics)
    assert study.values == [expected]


def test_a_metric_is_named() -> None:
    study = RecordedRun(metric="accuracy")
    assert Reporting(study.run, "hits").report_epoch({"hits": 0.5, "val_accuracy": 0.1})
    assert study.values == [0.5]


@pytest.mark.parametrize(
    ("metric", "metrics", "message"),
    [
        (None, {"val_acc": 0.5, "val_loss": 1.0}, "no accuracy, val_accuracy or eval_accuracy, only val_acc, val_loss"),
        ("hits", {"val_accuracy": 0.5}, "have no hits, only val_accuracy"),
        (None, {}, "only nothing"),
    ],
)
def test_a_missing_metric_says_what_is_there(metric: str | None, metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Reporting(RecordedRun(metric="accuracy").run, metric).report_epoch(metrics)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    study = RecordedRun(metric="accuracy")
    assert not Reporting(study.run).report_epoch({"val_accuracy": 0.1, "val_loss": math.nan})
    assert study.run.diverged


def lightning(run: Run, folder: Path, **keywords: Any) -> Any:
    """A fit of the toy network; what comes back has `epoch`, the epochs trained."""
    pl = pytest.importorskip("lightning.pytorch")
    from epsearch.integrations.lightning import RunReporter

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = toy.network()

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = nn.functional.mse_loss(self.network(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", nn.functional.mse_loss(self.network(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return run.optimizer(self)

    metric = keywords.pop("metric", None)
    trainer = pl.Trainer(
        max_epochs=run.planned_epochs(),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[RunReporter(run, metric)],
        **keywords,
    )
    loader = torch.utils.data.DataLoader(list(toy.batches()), batch_size=None)
    module = Module()
    trainer.fit(module, loader, loader)
    trainer.validate(module, loader, verbose=False)
    return trainer.current_epoch


def transformers(run: Run, folder: Path, **keywords: Any) -> Any:
    """The same with Hugging Face's Trainer."""
    library = pytest.importorskip("transformers")
    from epsearch.integrations.transformers import RunReporter

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = toy.network()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            outputs = self.network(x)
            return {"loss": nn.functional.mse_loss(outputs, labels), "logits": outputs}

    metric = keywords.pop("metric", None)
    settings = {
        "output_dir": str(folder / "out"),
        "num_train_epochs": run.planned_epochs(),
        "per_device_train_batch_size": 8,
        "lr_scheduler_type": "constant",
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        **keywords,
    }
    data = [{"x": x, "labels": y} for x, y in zip(toy.X, toy.Y, strict=True)]
    model = Network()
    trainer = library.Trainer(
        model,
        library.TrainingArguments(**settings),
        train_dataset=data,
        eval_dataset=data,
        optimizers=(run.optimizer(model), None),
        callbacks=[RunReporter(run, metric)],
    )
    trainer.train()
    trainer.evaluate()
    return trainer.state.epoch


Fit = Callable[..., Any]
both = pytest.mark.parametrize("fit", [lightning, transformers])


@both
def test_every_epoch_is_reported_once(fit: Fit, tmp_path: Path) -> None:
    """Neither a check of the validation before the training nor an evaluation after it is an epoch."""
    study = RecordedRun()
    assert fit(study.run, tmp_path) == EPOCHS
    assert len(study.values) == EPOCHS
    assert study.values[-1] < study.values[0]
    assert not study.run.ended


@both
def test_a_run_that_is_over_stops_the_trainer(fit: Fit, tmp_path: Path) -> None:
    study = RecordedRun(until=2)
    assert fit(study.run, tmp_path) == 2
    assert len(study.values) == 2
    assert study.run.ended


@both
def test_the_probe_reads_an_epoch(fit: Fit, tmp_path: Path) -> None:
    study = RecordedRun(probing=True)
    assert fit(study.run, tmp_path) == 1
    result = study.run.measure()
    assert result.settings["steps"] == result.settings["batches_per_epoch"] == 6
    assert result.layers[0].name == "network.0.weight"
    assert not study.values


@both
def test_the_learning_rate_test_ends_the_trainer(fit: Fit, tmp_path: Path) -> None:
    """Epochs have 6 steps; what the trainer reports does not count, and its own lr does not matter."""
    sweep = LrSweep(30)
    study = RecordedRun(lr_sweep=sweep)
    with sweep:
        fit(study.run, tmp_path)
        pytest.fail("the trainer went on")
    test = study.run.lr_test()
    assert 20 < len(test.lrs) <= 30
    assert test.lrs == rising_lrs(30)[: len(test.lrs)]
    assert 0 < test.losses[0] < 1
    assert not study.values


@both
def test_histograms_are_recorded(fit: Fit, tmp_path: Path) -> None:
    study = RecordedRun(recording=True)
    fit(study.run, tmp_path)
    assert study.run.history is not None
    assert [reading.epoch for reading in study.run.history.epochs] == [1, 2, 3, 4]


@both
def test_a_metric_that_the_trainer_has_not_is_said(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no score, only .*_loss"):
        fit(RecordedRun().run, tmp_path, metric="score")


@pytest.mark.parametrize(
    ("fit", "settings"), [(lightning, {"check_val_every_n_epoch": 2}), (transformers, {"eval_strategy": "no"})]
)
def test_an_epoch_without_validation_is_refused_at_the_start(
    fit: Fit, settings: dict[str, Any], tmp_path: Path
) -> None:
    study = RecordedRun()
    with pytest.raises(UserError, match="in every epoch"):
        fit(study.run, tmp_path, **settings)
    assert not study.values


def test_lightning_without_validation_reports_the_training(tmp_path: Path) -> None:
    study = RecordedRun()
    assert lightning(study.run, tmp_path, metric="train_loss", limit_val_batches=0) == EPOCHS
    assert len(study.values) == EPOCHS


def test_lightning_that_validates_within_epochs_reports_each_once(tmp_path: Path) -> None:
    study = RecordedRun()
    lightning(study.run, tmp_path, val_check_interval=0.5)
    assert len(study.values) == EPOCHS
