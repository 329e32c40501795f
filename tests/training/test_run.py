"""The `run` of a user's own loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from epsearch.core.errors import StudyError, UserError
from epsearch.probing import measure
from epsearch.probing.lr_sweep import LrSweep
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Cell
from epsearch.study.config import StudyConfig
from epsearch.training.run import Run

CPU = torch.device("cpu")
CELL = Cell(optimizer="adam", lr=1e-2, eps=1e-5, beta2=0.99)


def study(epochs: int | None = None, probe: Mapping[str, object] | None = None) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "name": "test",
            "workload": {"train": "my:train"},
            "training": {"epochs": epochs},
            "probe": probe or {},
            "metric": {"name": "score", "goal": "maximize"},
            "optimizer": {"beta1": 0.8, "weight_decay": 0.25},
        }
    )


def test_optimizer_has_the_cell() -> None:
    run = Run(study(), CELL, 0, CPU)
    (group,) = run.optimizer(torch.nn.Linear(2, 1)).param_groups
    assert (group["lr"], group["eps"], group["betas"], group["weight_decay"]) == (1e-2, 1e-5, (0.8, 0.99), 0.25)
    (group,) = run.optimizer(torch.nn.Linear(2, 1), weight_decay=0.5, amsgrad=True).param_groups
    assert (group["weight_decay"], group["amsgrad"]) == (0.5, True)


def test_baseline_is_sgd_with_dampened_momentum() -> None:
    run = Run(study(), Cell(optimizer="sgd_momentum", lr=0.5), 0, CPU)
    optimizer = run.optimizer(torch.nn.Linear(2, 1))
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["momentum"], optimizer.defaults["dampening"]) == (0.8, 0.8)
    with pytest.raises(UserError, match="has no eps"):
        _ = run.eps


def test_epochs_are_the_studys_or_the_codes_own() -> None:
    assert len(list(Run(study(), CELL, 0, CPU).epochs(default=7))) == 7
    assert len(list(Run(study(3), CELL, 0, CPU).epochs(default=7))) == 3
    assert len(list(Run(study(3), CELL, 0, CPU, probing=True).epochs(default=7))) == 1


def test_pruning_ends_the_epochs() -> None:
    run = Run(study(9), CELL, 0, CPU, on_report=lambda value: value < 2)
    seen = []
    for epoch in run.epochs():
        seen.append(epoch)
        run.report(score=epoch)
    assert seen == [0, 1, 2]
    assert run.ended
    assert not run.diverged


def test_a_metric_that_is_not_finite_ends_the_epochs_and_is_not_told() -> None:
    reported: list[float] = []
    run = Run(study(9), CELL, 0, CPU, on_report=lambda value: reported.append(value) is None)
    for epoch in run.epochs():
        run.report(score=1.0, loss=math.inf if epoch == 1 else 0.5)
    assert run.diverged
    assert reported == [1.0, 1.0], "the score of the second epoch is finite and counts; its loss ends the run"


def test_the_studys_metric_must_be_reported() -> None:
    with pytest.raises(UserError, match=r'was given accuracy, but the study\'s metric.name is "score"'):
        Run(study(), CELL, 0, CPU).report(accuracy=1.0)


def test_a_probe_needs_an_optimizer_that_it_knows() -> None:
    run = Run(study(), CELL, 0, CPU, probing=True)
    with pytest.raises(UserError, match=r"run\.optimizer\(model\)"):
        run.measure()
    with pytest.raises(UserError, match="register_denominator"):
        run.watch(torch.optim.Rprop(torch.nn.Linear(2, 1).parameters()))


def test_own_optimizer_is_watched() -> None:
    model = torch.nn.Linear(3, 1)
    run = Run(study(), CELL, 0, CPU, probing=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=run.lr, eps=run.eps, betas=(run.beta1, run.beta2))
    run.watch(optimizer, model)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().mean().backward()
        optimizer.step()
    result = run.measure()
    assert [layer.name for layer in result.layers] == ["weight", "bias"]
    assert result.settings["steps"] == 5


def steps_counted(run: Run, *optimizers: torch.optim.Optimizer) -> int:
    """What the probe counts after five steps of each."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        for _ in range(5):
            optimizer.step()
    return int(run.measure().settings["steps"] or 0)


def test_watching_again_gives_names_and_counts_no_step_twice() -> None:
    """The natural way to names for parameter groups; β₂ follows from the number of batches."""
    model = torch.nn.Linear(3, 1)
    run = Run(study(), CELL, 0, CPU, probing=True)
    optimizer = run.optimizer([{"params": [model.weight]}, {"params": [model.bias], "weight_decay": 0.0}])
    for _ in range(2):
        run.watch(optimizer, model)
    assert steps_counted(run, optimizer) == 5
    assert [layer.name for layer in run.measure().layers] == ["weight", "bias"]


def test_an_optimizer_in_a_wrapper_is_counted_once() -> None:
    class Wrapper(torch.optim.Optimizer):
        """As Accelerate's: it steps the one inside."""

        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

        @property
        def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
            return self.optimizer.param_groups

        def step(self) -> None:  # type: ignore[override]
            self.optimizer.step()

    run = Run(study(), CELL, 0, CPU, probing=True)
    wrapped = Wrapper(run.optimizer(torch.nn.Linear(3, 1)))
    run.watch(wrapped)
    assert steps_counted(run, wrapped) == 5


def test_one_optimizer_after_another_is_counted_on() -> None:
    model = torch.nn.Linear(3, 1)
    run = Run(study(), CELL, 0, CPU, probing=True)
    assert steps_counted(run, run.optimizer(model)) == 5
    assert steps_counted(run, run.optimizer(model)) == 10


def test_of_two_optimizers_side_by_side_the_last_is_watched() -> None:
    """As a GAN has them: a batch makes a step of each, and is one batch."""
    run = Run(study(), CELL, 0, CPU, probing=True)
    both = [run.optimizer(torch.nn.Linear(3, 1)) for _ in range(2)]
    assert steps_counted(run, *both) == 5


def test_the_study_chooses_the_range_and_what_to_exclude() -> None:
    model = torch.nn.Linear(3, 1)
    run = Run(study(probe={"range": "paper", "exclude": ["b*"]}), CELL, 0, CPU, probing=True)
    steps_counted(run, run.optimizer(model))
    result = run.measure()
    assert result.range_kind == "paper"
    assert result.excluded == ["bias"]
    assert [layer.name for layer in result.layers] == ["weight"]
    run = Run(study(probe={"exclude": ["x"]}), CELL, 0, CPU, probing=True)
    with pytest.raises(UserError, match=r"no tensor is called 'x'\. Choose from: weight, bias"):
        steps_counted(run, run.optimizer(model))


def test_a_probe_that_diverged_says_what_to_do() -> None:
    run = Run(study(), CELL, 0, CPU, probing=True)
    run.optimizer(torch.nn.Linear(1, 1))
    run.report(score=math.nan)
    with pytest.raises(StudyError, match=r"probe\.lr"):
        run.measure()


class TestLearningRateTest:
    """A run whose lr a sweep sets: as many epochs as it needs, and no reports."""

    def test_a_loop_that_knows_nothing_of_it(self) -> None:
        sweep, reported = LrSweep(30), []
        run = Run(study(1), CELL, 7, CPU, lr_sweep=sweep, on_report=lambda value: reported.append(value) is None)
        assert run.probing
        assert run.planned_epochs() == 30
        model = torch.nn.Linear(2, 1)
        optimizer = run.optimizer(model)
        with sweep:
            for epoch in run.epochs():
                optimizer.zero_grad()
                (model(torch.full((4, 2), 1.0 + epoch % 3)) - 5).square().mean().backward()
                optimizer.step()
                run.report(score=math.nan)
        test = run.lr_test()
        assert 10 < len(test.lrs) <= 30
        assert (test.optimizer, test.eps) == ("Adam", 1e-5)
        assert test.settings == {"steps": len(test.lrs), "beta2": 0.99, "seed": 7, "device": "cpu"}
        assert not reported
        assert not run.ended

    def test_of_two_optimizers_the_one_watched_last_is_swept(self) -> None:
        sweep = LrSweep(30)
        run = Run(study(), CELL, 0, CPU, lr_sweep=sweep)
        first, last = (run.optimizer(torch.nn.Linear(2, 1)) for _ in range(2))
        for optimizer in (first, last):
            optimizer.step()
        assert first.param_groups[0]["lr"] == CELL.lr
        assert last.param_groups[0]["lr"] == pytest.approx(1e-6)

    def test_needs_an_optimizer_to_watch(self) -> None:
        run = Run(study(), CELL, 0, CPU, lr_sweep=LrSweep(30))
        with pytest.raises(UserError, match=r"run\.watch\(optimizer\)"):
            run.lr_test()

    def test_the_studys_metric_must_be_reported(self) -> None:
        with pytest.raises(UserError, match=r'was given accuracy, but the study\'s metric.name is "score"'):
            Run(study(), CELL, 0, CPU, lr_sweep=LrSweep(30)).report(accuracy=1.0)


class TestRecording:
    """A trial whose ẑ is kept: one reading for each report."""

    @staticmethod
    def trained(run: Run, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> list[ProbeResult]:
        """Step and report until the run ends; what `measure` reads before each report."""
        results = []
        for epoch in run.epochs(default=3):
            optimizer.zero_grad()
            model(torch.full((4, 2), 1.0 + epoch)).square().mean().backward()
            optimizer.step()
            results.append(measure(optimizer, model))
            run.report(score=epoch)
        return results

    def test_each_report_is_an_epoch_on_record(self) -> None:
        model = torch.nn.Linear(2, 1)
        run = Run(study(), CELL, 7, CPU, recording=True)
        assert run.history is None
        results = self.trained(run, run.optimizer(model), model)
        history = run.history
        assert history is not None
        assert [(reading.epoch, reading.histogram) for reading in history.epochs] == [
            (epoch, result.histogram) for epoch, result in enumerate(results, start=1)
        ]
        assert (history.eps, history.settings["lr"], history.settings["seed"]) == (1e-5, 1e-2, 7)

    def test_is_off_unless_asked_for(self) -> None:
        model = torch.nn.Linear(2, 1)
        run = Run(study(), CELL, 0, CPU)
        self.trained(run, run.optimizer(model), model)
        assert run.history is None

    def test_what_is_not_finite_is_not_recorded(self) -> None:
        run = Run(study(), CELL, 0, CPU, recording=True)
        run.optimizer(torch.nn.Linear(2, 1))
        run.report(score=math.nan)
        assert run.history is None

    def test_a_pruned_trial_keeps_what_it_had(self) -> None:
        model = torch.nn.Linear(2, 1)
        run = Run(study(), CELL, 0, CPU, recording=True, on_report=lambda value: value < 1)
        self.trained(run, run.optimizer(model), model)
        assert run.history is not None
        assert len(run.history.epochs) == 2

    def test_a_rebuilt_optimizer_continues_the_history(self) -> None:
        model = torch.nn.Linear(2, 1)
        run = Run(study(1), CELL, 0, CPU, recording=True)
        self.trained(run, run.optimizer(model), model)
        self.trained(run, run.optimizer(model), model)
        assert run.history is not None
        assert [reading.epoch for reading in run.history.epochs] == [1, 2]

    def test_a_baseline_has_nothing_to_record(self) -> None:
        model = torch.nn.Linear(2, 1)
        run = Run(study(), Cell(optimizer="sgd_momentum", lr=0.5), 0, CPU, recording=True)
        optimizer = run.optimizer(model)
        model(torch.ones(4, 2)).square().mean().backward()
        optimizer.step()
        run.report(score=1.0)
        assert run.history is None

    def test_needs_an_optimizer_that_it_knows(self) -> None:
        run = Run(study(), CELL, 0, CPU, recording=True)
        with pytest.raises(UserError, match=r"run\.watch\(optimizer\)"):
            run.report(score=1.0)
        with pytest.raises(UserError, match="register_denominator"):
            run.watch(torch.optim.Rprop(torch.nn.Linear(2, 1).parameters()))
