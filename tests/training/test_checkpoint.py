"""A training that is broken off and goes on from its checkpoint ends as if it had never been broken off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from epsearch.core.errors import DriverGone, ProcessUnusable
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig
from epsearch.training.checkpoint import TrialCheckpoint
from epsearch.training.loop import train
from epsearch.training.precision import set_precision
from epsearch.training.run import Run
from epsearch.training.tasks import StudyTasks
from tests.training.test_loop import CPU, Regression, config

EPOCHS = 5
ADAM = Cell(optimizer="adam", lr=1e-2, eps=1e-8, beta2=0.999)


class Killed(DriverGone):
    """Stands for a process that is no more: nothing after the raise is written."""


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    set_precision("float64")
    yield
    set_precision("float32")


class Kept:
    """A trial in its first seed: what it reports, and its checkpoint; killed as it reports the `stop_at`th time."""

    def __init__(self, path: Path, stop_at: int | None = None, every: float | None = 0) -> None:
        self.told: list[float] = []
        self._stop_at = stop_at
        self.checkpoint = TrialCheckpoint(path, every, CPU)
        self.checkpoint.values.append(self.told)

    def __call__(self, value: float) -> bool:
        self.told.append(value)
        if len(self.told) == self._stop_at:
            raise Killed
        return True

    def run(self, study: StudyConfig, cell: Cell = ADAM, **keywords: Any) -> Run:
        return Run(study, cell, 0, CPU, on_report=self, checkpoint=self.checkpoint, **keywords)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "schedule": {"lr_decay": {"factor": 0.5, "at": [1, 3]}, "warmup": 6},
    "cosine": {"lr_decay": "cosine"},
    "accumulated": {"accumulate": 3, "clip_norm": 0.1},
}


@pytest.mark.parametrize(
    "cell",
    [ADAM, Cell(optimizer="adabelief", lr=1e-2, eps=1e-8, beta2=0.99), Cell(optimizer="sgd_momentum", lr=1e-2)],
    ids=lambda cell: cell.optimizer,
)
@pytest.mark.parametrize("settings", SETTINGS)
def test_our_loop_goes_on_exactly(settings: str, cell: Cell, tmp_path: Path) -> None:
    """BatchNorm's running statistics, dropout's random numbers, the schedule and the optimizer's state included."""
    study = config(training={"epochs": EPOCHS, "precision": "float64", **SETTINGS[settings]})
    whole = Kept(tmp_path / "never")
    train(Regression(), study, [whole.run(study, cell)])
    for stop_at in (1, 3, EPOCHS):
        file = tmp_path / f"{stop_at}.pt"
        with pytest.raises(Killed):
            train(Regression(), study, [Kept(file, stop_at).run(study, cell)])
        assert file.exists() == (stop_at > 1), "the epoch that the kill fell into is lost, those before are kept"
        rest = Kept(file)
        train(Regression(), study, [rest.run(study, cell)])
        assert rest.told == whole.told


def test_float16_keeps_its_loss_scale(tmp_path: Path) -> None:
    set_precision("float16")
    study = config(training={"epochs": EPOCHS, "precision": "float16"})
    whole = Kept(tmp_path / "never")
    train(Regression(), study, [whole.run(study)])
    with pytest.raises(Killed):
        train(Regression(), study, [Kept(tmp_path / "c.pt", 3).run(study)])
    rest = Kept(tmp_path / "c.pt")
    train(Regression(), study, [rest.run(study)])
    assert rest.told == whole.told


def test_members_go_on_from_where_each_was(tmp_path: Path) -> None:
    study = config(training={"epochs": EPOCHS, "precision": "float64"})
    cells = [ADAM.model_copy(update={"lr": lr}) for lr in (1e-3, 1e-2, 1e-1)]
    whole = [Kept(tmp_path / "never", every=None) for _ in cells]
    train(Regression(), study, [kept.run(study, cell) for kept, cell in zip(whole, cells, strict=True)])
    for index, stop_at in enumerate((2, 4)):
        with pytest.raises(Killed):
            train(Regression(), study, [Kept(tmp_path / f"{index}.pt", stop_at).run(study, cells[index])])
    rest = [Kept(tmp_path / f"{index}.pt") for index in range(3)]
    train(Regression(), study, [kept.run(study, cell) for kept, cell in zip(rest, cells, strict=True)])
    assert [kept.told for kept in rest] == [kept.told for kept in whole]


def test_the_histograms_go_on_too(tmp_path: Path) -> None:
    study = config(training={"epochs": EPOCHS, "precision": "float64"})
    whole = Kept(tmp_path / "never", every=None).run(study, recording=True)
    train(Regression(), study, [whole])
    with pytest.raises(Killed):
        train(Regression(), study, [Kept(tmp_path / "c.pt", 4).run(study, recording=True)])
    rest = Kept(tmp_path / "c.pt").run(study, recording=True)
    train(Regression(), study, [rest])
    assert rest.history is not None
    assert rest.history == whole.history
    assert len(rest.history.epochs) == EPOCHS


def own_loop(run: Run) -> None:
    """A user's loop: a DataLoader that shuffles and dropout, all from the process's own random numbers."""
    torch.manual_seed(run.seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.4), nn.ReLU(), nn.Linear(8, 1))
    data = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    optimizer = run.optimizer(model)
    if (state := run.restore()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for _ in run.epochs(default=EPOCHS):
        for batch in loader:
            optimizer.zero_grad()
            (model(batch).squeeze(1) - batch.sum(1)).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            score = model.eval()(data).sum().item()
        model.train()
        run.report(score=score, checkpoint={"model": model.state_dict(), "optimizer": optimizer.state_dict()})


def own_study(**training: Any) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "name": "test",
            "workload": {"train": "tests.training.test_checkpoint:own_loop"},
            "training": {"precision": "float64", "checkpoint_every": 0, **training},
            "metric": {"name": "score", "goal": "maximize"},
        }
    )


def test_a_users_loop_goes_on_exactly(tmp_path: Path) -> None:
    study = own_study()
    whole = Kept(tmp_path / "never", every=None)
    own_loop(whole.run(study))
    with pytest.raises(Killed):
        own_loop(Kept(tmp_path / "c.pt", 4).run(study))
    rest = Kept(tmp_path / "c.pt")
    torch.rand(99)
    own_loop(rest.run(study))
    assert rest.told == whole.told


def trial(tasks: StudyTasks, path: Path | None, stop_at: int | None = None) -> tuple[list[tuple[int, float]], Ending]:
    """(seed's index, value) as reported, and the ending."""
    told: list[tuple[int, float]] = []

    def report(index: int, seed_index: int, value: float) -> bool:
        told.append((seed_index, value))
        if len(told) == stop_at:
            raise Killed
        return True

    (ending,) = tasks.trials([ADAM], report, [path])
    return told, ending


@pytest.mark.parametrize("stop_at", [2, EPOCHS + 1, EPOCHS + 3, 2 * EPOCHS + 2])
def test_a_trial_goes_on_with_the_seed_it_was_at(stop_at: int, tmp_path: Path) -> None:
    tasks = StudyTasks(own_study(seeds=[3, 4, 5], record_histograms=True))
    whole, ending = trial(tasks, None)
    assert ending.history is not None
    file = tmp_path / "c.pt"
    with pytest.raises(Killed):
        trial(tasks, file, stop_at)
    kept = torch.load(file, weights_only=False)
    assert sum(map(len, kept["values"])) in (stop_at - 1, stop_at - 2)
    told, rest = trial(tasks, file)
    assert told == whole
    assert rest == ending


def test_a_pruner_may_stop_what_goes_on(tmp_path: Path) -> None:
    tasks = StudyTasks(own_study(seeds=[3, 4]))
    with pytest.raises(Killed):
        trial(tasks, tmp_path / "c.pt", EPOCHS + 3)
    for stop_after in (2, EPOCHS + 1):
        answers = iter([True] * (stop_after - 1) + [False])
        (ending,) = tasks.trials([ADAM], lambda *_, answers=answers: next(answers), [tmp_path / "c.pt"])
        assert ending.kind == "pruned"
        assert list(answers) == []


def test_a_loop_without_checkpoints_starts_again(tmp_path: Path) -> None:
    study = own_study()
    run = Kept(tmp_path / "c.pt").run(study)
    assert run.restore() is None
    run.report(score=1.0)
    assert not (tmp_path / "c.pt").exists()
    assert list(run.epochs(default=3)) == [0, 1, 2]


def test_checkpoints_keep_their_distance(tmp_path: Path) -> None:
    study = own_study()
    own_loop(Kept(tmp_path / "c.pt", every=1e6).run(study))
    assert not (tmp_path / "c.pt").exists()
    own_loop(Kept(tmp_path / "c.pt", every=None).run(study))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Kept(tmp_path / "never", every=None)
    own_loop(whole.run(own_study()))
    kept = Kept(tmp_path / "c.pt")
    (tmp_path / "c.pt").mkdir()
    own_loop(kept.run(own_study()))
    assert kept.told == whole.told
    assert "could not write the checkpoint" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]


class Renamed:
    """A class of the user's in a checkpoint; it is gone when the checkpoint is read."""


def unreadable(kept: bytes, path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], object]]:
    """What may lie where a checkpoint was, by name."""

    def saved(content: object) -> None:
        torch.save(content, path)

    def renamed() -> None:
        saved(torch.load(path, weights_only=False) | {"state": {"of the user": Renamed()}})
        monkeypatch.delattr("tests.training.test_checkpoint.Renamed")

    return {
        "empty": lambda: path.write_bytes(b""),
        "cut off": lambda: path.write_bytes(kept[: len(kept) // 2]),
        "no pickle": lambda: path.write_bytes(b"not a checkpoint" * 99),
        "another pickle": lambda: saved([1, 2, 3]),
        "a state_dict": lambda: saved(nn.Linear(1, 1).state_dict()),
        "keys missing": lambda: saved({"state": {}, "values": [[1.0]]}),
        "no values": lambda: saved(torch.load(path, weights_only=False) | {"values": []}),
        "a class renamed": renamed,
    }


@pytest.mark.parametrize(
    "damage",
    [
        "empty",
        "cut off",
        "no pickle",
        "another pickle",
        "a state_dict",
        "keys missing",
        "no values",
        "a class renamed",
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_deleted(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says so, and the trial starts from the beginning."""
    tasks, file = StudyTasks(own_study(seeds=[3, 4])), tmp_path / "c.pt"
    whole, ending = trial(tasks, None)
    with pytest.raises(Killed):
        trial(tasks, file, EPOCHS + 3)
    unreadable(file.read_bytes(), file, monkeypatch)[damage]()
    capsys.readouterr()
    seen: list[bool] = []
    monkeypatch.setattr(TrialCheckpoint, "save", lambda *_: seen.append(file.exists()))
    assert trial(tasks, file) == (whole, ending)
    assert ending.kind == "finished"
    assert not any(seen), "the file was deleted before the first epoch"
    assert f"deleted the checkpoint {file}; training starts from the beginning" in capsys.readouterr().err


def test_a_checkpoint_of_another_model_is_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In our own loop: the workload's model has changed since."""

    class Wider(Regression):
        def model(self) -> nn.Module:
            return nn.Sequential(nn.Linear(1, 32), nn.Dropout(0.3), nn.Linear(32, 1))

    study = config(training={"epochs": EPOCHS, "precision": "float64"})
    whole = Kept(tmp_path / "never", every=None)
    train(Wider(), study, [whole.run(study)])
    with pytest.raises(Killed):
        train(Regression(), study, [Kept(tmp_path / "c.pt", 4).run(study)])
    rest = Kept(tmp_path / "c.pt")
    train(Wider(), study, [rest.run(study)])
    assert rest.told == whole.told, "nothing of the old model, and no epoch twice"
    assert "it does not fit (RuntimeError: Error(s) in loading state_dict" in capsys.readouterr().err


def test_memory_that_runs_out_while_a_checkpoint_is_read_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, file = StudyTasks(own_study()), tmp_path / "c.pt"
    with pytest.raises(Killed):
        trial(tasks, file, 3)
    content = file.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(ProcessUnusable, match=r"^out of GPU memory \(CUDA out of memory"):
        trial(tasks, file)
    assert file.read_bytes() == content


def test_a_checkpoint_reaches_the_disk_before_its_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power that fails after the renaming must not leave an empty file where a checkpoint was."""
    synced: list[Path] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    own_loop(Kept(tmp_path / "c.pt").run(own_study()))
    assert len(synced) == EPOCHS
    assert {path.parent for path in synced} == {tmp_path}
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    left, other = tmp_path / ".c.pt.12345.tmp", tmp_path / ".another.pt.12345.tmp"
    left.write_bytes(b"half")
    other.write_bytes(b"half")
    TrialCheckpoint(tmp_path / "c.pt", 0, CPU)
    assert list(tmp_path.iterdir()) == [other]


def test_a_training_on_the_cpu_leaves_the_gpus_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A context on each takes memory, and fails where another process has it all."""

    def fail() -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "get_rng_state_all", fail)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    own_loop(Kept(tmp_path / "c.pt").run(own_study()))
    assert (tmp_path / "c.pt").exists()


def test_the_probe_leaves_checkpoints_alone(tmp_path: Path) -> None:
    tasks = StudyTasks(own_study())
    assert tasks.probe().settings["steps"] == 5
    assert list(tmp_path.iterdir()) == []
