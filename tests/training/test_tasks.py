"""What a worker makes of the errors of a user's code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from epsearch.core.errors import DriverGone, ProcessUnusable, StudyError, UserError
from epsearch.probing.lr_curve import rising_lrs
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig
from epsearch.training import faults
from epsearch.training.run import Run
from epsearch.training.tasks import StudyTasks
from tests.training.test_loop import Regression

CELLS = [Cell(optimizer="adam", lr=lr, eps=1e-8, beta2=0.999) for lr in (1e-3, 1e-2, 1e-1)]
HERE = "tests.training.test_tasks"
CUDA_ASSERT = "CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA."

OF_THE_CODE: list[tuple[BaseException, str]] = [
    (ValueError("the dog ate it"), "ValueError: the dog ate it"),
    (EOFError(), "EOFError"),
    (ConnectionResetError("by peer"), "ConnectionResetError: by peer"),
    (OSError(5, "Input/output error"), "OSError: [Errno 5] Input/output error"),
    (SystemExit(3), "SystemExit: 3"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (StopIteration(), "StopIteration"),
    (StudyError("as if it were ours"), "StudyError: as if it were ours"),
    (RuntimeError("two\nlines and a lone \ud800"), "RuntimeError: two lines and a lone \\ud800"),
]
OF_THE_PROCESS: list[tuple[BaseException, str]] = [
    (RuntimeError(CUDA_ASSERT), "the GPU can no longer be used by this process"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out of GPU memory"),
    (MemoryError(), "out of memory"),
]


def named(errors: list[tuple[BaseException, str]]) -> list[Any]:
    return [pytest.param(*row, id=type(row[0]).__name__) for row in errors]


class Script:
    """What the loops below do at this lr, seed and epoch; None: nothing."""

    raises: Callable[[float, int, int], BaseException | None] = staticmethod(lambda *_: None)


@pytest.fixture(autouse=True)
def script() -> Iterator[type[Script]]:
    """Nothing is raised unless the test says so."""
    before = Script.raises
    yield Script
    Script.raises = staticmethod(before)


def own_loop(run: Run) -> None:
    """A user's own loop over one weight."""
    model = nn.Linear(1, 1)
    optimizer = run.optimizer(model)
    for epoch in run.epochs(default=2):
        if (error := Script.raises(run.lr, run.seed, epoch)) is not None:
            raise error
        optimizer.zero_grad()
        model(torch.ones(4, 1)).square().mean().backward()
        optimizer.step()
        run.report(score=run.lr + epoch, checkpoint={"epoch": epoch})


class Lockstep(Regression):
    """A workload whose loss raises at its script's lr, which it finds by its model's number; and so its batches."""

    models = 0

    def model(self) -> nn.Module:
        model = nn.Linear(1, 1)
        model.number = self.models % len(CELLS)  # type: ignore[assignment]
        self.models += 1
        return model

    def train_batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if (error := Script.raises(0.0, 0, epoch)) is not None:
            raise error
        self.epoch = epoch
        yield from super().train_batches(epoch)

    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        if (error := Script.raises(CELLS[int(model.number)].lr, 0, self.epoch)) is not None:  # type: ignore[arg-type]
            raise error
        return super().loss(model, batch)


def tasks(train: bool = True, **training: Any) -> StudyTasks:
    workload = {"train": f"{HERE}:own_loop"} if train else {"object": f"{HERE}:Lockstep"}
    return StudyTasks(
        StudyConfig.model_validate(
            {
                "name": "test",
                "workload": workload,
                "training": {"epochs": 2, "checkpoint_every": 0, **training},
                "metric": {"name": "score", "goal": "maximize"} if train else {"name": "loss"},
            }
        )
    )


def at(lr: float, error: BaseException, epoch: int = 1) -> Callable[[float, int, int], BaseException | None]:
    return lambda found, _seed, now: error if (found, now) == (lr, epoch) else None


def go_on(*_: object) -> bool:
    return True


def kinds(endings: list[Ending]) -> list[str]:
    return [ending.kind for ending in endings]


@pytest.mark.parametrize("train", [True, False], ids=["own loop", "our loop"])
class TestTrials:
    @pytest.mark.parametrize(("error", "text"), named(OF_THE_CODE))
    def test_what_raises_ends_its_trial_alone(
        self, train: bool, error: BaseException, text: str, script: type[Script], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Of three that train together; the log has the traceback below the number of the trial."""
        script.raises = staticmethod(at(1e-2, error))
        endings = tasks(train).trials(CELLS, go_on, numbers=[4, 5, 6])
        assert kinds(endings) == ["finished", "raised", "finished"]
        assert endings[1].error == text
        log = capsys.readouterr().err
        assert log.index("--- trial 5: raised ---") < log.index("Traceback (most recent call last)")
        assert type(error).__name__ in log

    def test_every_seed_of_the_others_is_trained(self, train: bool, script: type[Script]) -> None:
        left = [ValueError("no")]
        script.raises = staticmethod(lambda lr, _, epoch: left.pop() if left and (lr, epoch) == (1e-2, 1) else None)
        reported: list[tuple[int, int]] = []
        endings = tasks(train, seeds=[0, 1]).trials(
            CELLS, lambda index, seed, _: reported.append((index, seed)) is None
        )
        assert kinds(endings) == ["finished", "raised", "finished"]
        assert sorted(reported) == sorted([(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (2, 0), (2, 0), (2, 1), (2, 1)])

    @pytest.mark.parametrize(("error", "reason"), named(OF_THE_PROCESS))
    def test_what_ends_the_process_keeps_checkpoints_and_endings(
        self, train: bool, error: BaseException, reason: str, script: type[Script], tmp_path: Path
    ) -> None:
        """The trial before the one that it happens to is over: in a user's own loop finished, in ours pruned."""
        script.raises = staticmethod(at(1e-2, error))
        files = [tmp_path / f"{index}.pt" for index in range(3)]
        with pytest.raises(ProcessUnusable, match=f"^{reason}") as caught:
            tasks(train).trials(CELLS, lambda index, *_: train or index != 0, files)
        first = Ending(kind="finished" if train else "pruned")
        assert caught.value.endings == (first, None, None)
        assert files[1].exists()
        script.raises = staticmethod(lambda *_: None)
        reported: list[int] = []
        endings = tasks(train).trials(CELLS[1:], lambda index, *_: reported.append(index) is None, files[1:])
        assert kinds(endings) == ["finished", "finished"]
        assert reported.count(0) == 2

    def test_a_mistake_that_every_trial_would_meet_ends_the_study(self, train: bool, script: type[Script]) -> None:
        script.raises = staticmethod(at(1e-2, UserError("metric.name is wrong")))
        with pytest.raises(UserError, match=r"metric\.name is wrong"):
            tasks(train).trials(CELLS, go_on)

    def test_a_driver_that_is_gone_ends_the_worker(self, train: bool) -> None:
        def report(*_: object) -> bool:
            raise DriverGone

        with pytest.raises(DriverGone):
            tasks(train).trials(CELLS, report)

    @pytest.mark.parametrize(("error", "text"), named(OF_THE_CODE))
    def test_what_raises_while_probing_ends_the_study(
        self, train: bool, error: BaseException, text: str, script: type[Script], capsys: pytest.CaptureFixture[str]
    ) -> None:
        script.raises = staticmethod(lambda lr, *_: error if lr else None)
        with pytest.raises(StudyError) as caught:
            tasks(train).probe()
        assert str(caught.value) == (str(error) if isinstance(error, StudyError) else text)
        if not isinstance(error, StudyError):
            assert caught.value.__cause__ is error
            log = capsys.readouterr().err
            assert log.index("--- probe: adam, lr 1e-3") < log.index("Traceback (most recent call last)")

    def test_learning_rates_are_tested(self, train: bool, capsys: pytest.CaptureFixture[str]) -> None:
        """Whatever the study's epochs, schedule and batches for a step, and with its own lr and ε."""
        settings = {} if train else {"warmup": 1000, "lr_decay": "cosine", "accumulate": 2, "clip_norm": 1.0}
        worker = tasks(train, seeds=[3, 4], **settings)
        test = worker.call("lr_test", 1e-4)
        assert 40 < len(test.lrs) <= 100
        assert test.lrs == rising_lrs(100)[: len(test.lrs)]
        assert (test.optimizer, test.eps) == ("Adam", 1e-4)
        assert test.settings == {"steps": len(test.lrs), "beta2": test.settings["beta2"], "seed": 3, "device": "cpu"}
        assert "--- learning-rate test: adam" in capsys.readouterr().err
        assert worker.call("lr_test", 1e-4) == test, "the first left something behind"
        assert worker.call("lr_test", 1e-4, 0.5).settings["beta2"] == 0.5
        assert kinds(worker.trials(CELLS, go_on)) == ["finished"] * 3

    def test_what_raises_at_a_high_lr_ends_the_test(
        self, train: bool, script: type[Script], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Some losses reject NaN. At a low lr the code is wrong."""
        script.raises = staticmethod(lambda _lr, _seed, epoch: ValueError("NaN") if epoch == 60 else None)
        if train:
            assert len(tasks(train).lr_test(1e-4).lrs) == 60
            assert "ValueError: NaN" in capsys.readouterr().err
        script.raises = staticmethod(lambda _lr, _seed, epoch: ValueError("mine") if epoch == 2 else None)
        with pytest.raises(StudyError, match="ValueError: mine"):
            tasks(train).lr_test(1e-4)

    @pytest.mark.parametrize(("error", "reason"), named(OF_THE_PROCESS))
    def test_what_ends_the_process_while_testing(
        self, train: bool, error: BaseException, reason: str, script: type[Script]
    ) -> None:
        script.raises = staticmethod(lambda _lr, _seed, epoch: error if epoch == (60 if train else 2) else None)
        with pytest.raises(ProcessUnusable, match=f"^{reason}"):
            tasks(train).lr_test(1e-4)

    @pytest.mark.parametrize(("error", "reason"), named(OF_THE_PROCESS))
    def test_what_ends_the_process_while_probing(
        self, train: bool, error: BaseException, reason: str, script: type[Script]
    ) -> None:
        script.raises = staticmethod(lambda *_: error)
        with pytest.raises(ProcessUnusable, match=f"^{reason}"):
            tasks(train).probe()


def test_learning_rates_are_tested_in_half_precision() -> None:
    """The scaler's factor of 65536 is not in the losses."""
    test = tasks(train=False, precision="float16").lr_test(1e-4)
    assert 0.1 < max(test.losses[:10]) < 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("child", ["returns", "raises", "exits"])
def test_a_forked_child_trains_nothing_more(child: str, script: type[Script], tmp_path: Path) -> None:
    """Of what the parent goes on with; it ends where it leaves the user's function."""
    trained, worker = tmp_path / "trained", os.getpid()
    ends: dict[str, BaseException | None] = {"returns": None, "raises": ValueError("child"), "exits": SystemExit(3)}

    def fork(lr: float, _: int, epoch: int) -> BaseException | None:
        if (lr, epoch) == (1e-3, 1) and os.getpid() == worker:
            if pid := os.fork():
                assert os.waitpid(pid, 0)[1] == 0
            else:
                return ends[child]
        with trained.open("a") as file:
            print(lr, epoch, os.getpid() == worker, file=file)
        return None

    script.raises = staticmethod(fork)
    assert kinds(tasks().trials(CELLS, go_on)) == ["finished"] * 3
    assert [line for line in trained.read_text().splitlines() if line.endswith("False")] == []


def test_batches_that_raise_end_all_that_are_not_over(script: type[Script]) -> None:
    script.raises = staticmethod(at(0.0, EOFError("truncated")))
    endings = tasks(train=False).trials(CELLS, lambda index, *_: index != 2)
    assert kinds(endings) == ["raised", "raised", "pruned"]
    assert endings[0].error == "EOFError: truncated"


def test_a_gpu_that_an_error_has_broken_ends_the_process(script: type[Script], monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's code has caught the GPU's error, or met another one first: the next trial would fail, and the next."""

    def fail(_: int) -> None:
        raise RuntimeError(CUDA_ASSERT)

    class Torch:
        """What the check of an error sees; torch's optimizers would use such a GPU."""

        cuda = SimpleNamespace(
            is_initialized=lambda: True, device_count=lambda: 1, memory_reserved=lambda _: 2**20, synchronize=fail
        )

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

    script.raises = staticmethod(at(1e-2, KeyError("batch")))
    worker = tasks()
    monkeypatch.setattr(faults, "torch", Torch())
    with pytest.raises(ProcessUnusable, match="device-side assert triggered") as caught:
        worker.trials(CELLS, go_on)
    assert caught.value.endings == (Ending(kind="finished"), None, None)


@pytest.mark.parametrize("numbers", [[7, 8, 9], None], ids=["numbered", "not numbered"])
def test_the_log_says_which_trial_printed(numbers: list[int] | None, capsys: pytest.CaptureFixture[str]) -> None:
    tasks(seeds=[0, 1]).trials(CELLS, go_on, numbers=numbers)
    names = [f"trial {number}" for number in numbers] if numbers else ["trial"] * 3
    assert capsys.readouterr().err.splitlines() == [
        f"--- {name}: adam, lr {lr}, eps 1e-8, beta2 0.999, seed {seed} ---"
        for name, lr in zip(names, ("1e-3", "1e-2", "1e-1"), strict=True)
        for seed in (0, 1)
    ]


class TestLoading:
    @pytest.mark.parametrize("error", [MemoryError("in the module"), RuntimeError(CUDA_ASSERT)], ids=["memory", "GPU"])
    def test_what_ends_the_process(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the user's class raises, whose other errors are mistakes in the study file."""

        def fail(self: Lockstep) -> None:
            raise error

        monkeypatch.setattr(Lockstep, "__init__", fail)
        with pytest.raises(ProcessUnusable):
            tasks(train=False)

    def test_a_class_that_raises_a_book(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Lockstep) -> None:
            raise ValueError("once upon a time " * 1000)

        monkeypatch.setattr(Lockstep, "__init__", fail)
        with pytest.raises(UserError, match="raises ValueError: once upon a time") as caught:
            tasks(train=False)
        assert len(str(caught.value)) < 800

    def test_an_error_that_is_not_the_users_to_name(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A data file that was cut off: it must not pass for a pipe that was closed."""

        def fail(*_: object) -> None:
            raise EOFError("Ran out of input")

        monkeypatch.setattr("epsearch.training.tasks.create_workload", fail)
        with pytest.raises(StudyError, match=r"^EOFError: Ran out of input$"):
            tasks(train=False)
        assert "Traceback (most recent call last)" in capsys.readouterr().err

    def test_counting_batches(self, script: type[Script]) -> None:
        worker = tasks(train=False)
        assert worker.batches_per_epoch() == 4
        script.raises = staticmethod(lambda *_: EOFError())
        with pytest.raises(StudyError, match=r"^EOFError$"):
            worker.batches_per_epoch()
        script.raises = staticmethod(lambda *_: MemoryError())
        with pytest.raises(ProcessUnusable):
            worker.batches_per_epoch()
