"""`search.lr: auto` end to end: the learning-rate test, the search along the ridge, and how a grid widens."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import optuna
import pytest

import epsearch
from epsearch import pipeline
from epsearch.records.listener import SILENT, Listener
from epsearch.records.lr_test import LrTest
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Cell, Ending
from epsearch.records.widening import Widening
from epsearch.report.analysis.verdict import verdict
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study
from tests.conftest import StudyFolder
from tests.report import sample

STUDIES = Path(__file__).parents[1] / "studies"

LINEAR = """
    import torch

    def train(run):
        torch.manual_seed(run.seed)
        model = torch.nn.Linear(4, 1)
        optimizer = run.optimizer(model)
        for epoch in run.epochs():
            for _ in range(30):
                optimizer.zero_grad()
                (model(torch.rand(8, 4)) - 1).square().mean().backward()
                optimizer.step()
            run.report(score=-(model(torch.ones(1, 4)) - 1).abs().item())
"""

PEAK = """
    import math

    def train(run):
        score = -abs(math.log10(run.lr) - {lr}) - 2 * abs(math.log10(run.eps) - {eps})
        run.report(score=float("nan") if math.log10(run.lr) > {diverged} else score)
"""
"""The best lr and ε, and the lr from which training diverges, as decades."""


@pytest.fixture(autouse=True)
def silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Notes(Listener):
    """What the listener hears of."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.tests: list[tuple[LrTest, bool]] = []
        self.widenings: list[Widening] = []
        self.ended: list[Cell] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def lr_tested(self, test: LrTest, *, reused: bool) -> None:
        self.tests.append((test, reused))

    def widened(self, widening: Widening) -> None:
        self.widenings.append(widening)

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        self.ended.append(cell)


class KnownStudy:
    """A study that has been probed and tested: its ridge is known, and its metric is an equation."""

    def __init__(self, folder: StudyFolder, module: str, test: LrTest, **sections: Any) -> None:
        self._folder = folder
        search = {"eps": "grid", "lr": "auto", "beta2": 0.999, **sections.pop("search", {})}
        engine = {"name": "inline", **sections.pop("engine", {})}
        self._file = folder.write(module, training={"epochs": 1}, search=search, engine=engine, **sections)
        folder.run_directory.mkdir()
        sample.probe().save(folder.run_directory / "probe.json")
        test.save(folder.run_directory / "lr_test.json")

    def run(self, listener: Listener | None = None) -> Outcome:
        return epsearch.run(self._file, directory=self._folder.run_directory, listener=listener or Notes())


def peak(lr: float, eps: float, diverged: float = 9) -> str:
    return PEAK.format(lr=lr, eps=eps, diverged=diverged)


def cells_of(outcome: Outcome) -> list[tuple[float, float]]:
    return [(trial.lr or 0, trial.eps or 0) for trial in outcome.trials]


def test_probe_test_search_report(study_folder: StudyFolder) -> None:
    """With the real probe and test, in the driver's process; the second run has nothing left to do."""
    file = study_folder.write(
        LINEAR, search={"eps": "grid", "lr": "auto", "beta2": 0.9}, engine={"name": "inline"}, training={"epochs": 1}
    )
    notes, again = Notes(), Notes()
    outcome = epsearch.run(file, directory=study_folder.run_directory, listener=notes)
    assert outcome.probe is not None
    assert outcome.lr_test is not None
    assert outcome.lr_test.eps == outcome.probe.range.lower
    assert [reused for _, reused in notes.tests] == [False]
    assert any(text.startswith("lr test: 100 steps of training at eps") for text in notes.stages)
    assert LrTest.load(study_folder.run_directory / "lr_test.json") == outcome.lr_test
    assert (study_folder.run_directory / "figures" / "lr-test.html").exists()
    page = (study_folder.run_directory / "report.html").read_text()
    assert "A learning-rate test of " in page
    assert "lr_test.json" in page
    rates: dict[float, set[float]] = {}
    for lr, eps in cells_of(outcome):
        rates.setdefault(eps, set()).add(lr)
    assert sorted(rates) == outcome.probe.range.grid()
    assert all(len(found) >= 3 for found in rates.values())
    assert epsearch.run(file, directory=study_folder.run_directory, listener=again).trials == outcome.trials
    assert [reused for _, reused in again.tests] == [True]
    assert again.ended == []


def test_beta2_of_the_test_is_that_of_the_trials(study_folder: StudyFolder) -> None:
    """Where it is auto: by the batches that the probe counted, which nobody counts again."""
    file = study_folder.write(
        LINEAR, search={"eps": "endpoints", "lr": "auto", "beta2": "auto"}, engine={"name": "inline"}
    )
    outcome = epsearch.run(file, directory=study_folder.run_directory)
    assert outcome.probe is not None
    assert outcome.probe.settings["batches_per_epoch"] == 30
    assert outcome.probe.settings["beta2"] == 0.999, "not known before the probe"
    assert outcome.lr_test is not None
    assert outcome.lr_test.settings["beta2"] == 0.99
    assert {trial.beta2 for trial in outcome.trials} == {0.99}


@pytest.mark.parametrize(("beta2", "passed"), [("auto", 0.999), ("[0.9, 0.99]", None)])
def test_the_batches_of_an_epoch_are_counted_once(beta2: str, passed: float | None, tmp_path: Path) -> None:
    """By the probe, since counting makes all of them: the test gets the β₂ that follows."""

    class Calls(list[Any]):
        def call(self, *task: Any, steps: object) -> LrTest:
            self.append(task)
            return sample.lr_test()

    config = load_study(STUDIES / "quickstart.yaml", [f"search.beta2={beta2}"])
    probed = sample.probe().model_copy(update={"settings": {"batches_per_epoch": 668}})
    calls = Calls()
    test = pipeline.lr_test_stage(config, RunDirectory(tmp_path), calls, probed, SILENT)  # type: ignore[arg-type]
    assert test == sample.lr_test()
    assert calls == [("lr_test", probed.range.lower, passed)]


def test_probe_and_test_alone(study_folder: StudyFolder) -> None:
    """A later run uses both; of a study that gives lr, only the probe is run."""
    file = study_folder.write(
        LINEAR, search={"eps": "endpoints", "lr": "auto", "beta2": 0.9}, engine={"name": "inline"}
    )
    run_dir, notes, again, given = RunDirectory(study_folder.run_directory), Notes(), Notes(), Notes()
    result = pipeline.probe(file, ["search.lr=1e-3"], run_dir.path, given)
    assert (given.tests, run_dir.load_lr_test()) == ([], None)
    assert pipeline.probe(file, directory=run_dir.path, listener=notes) == result == run_dir.load_probe()
    assert notes.tests == [(run_dir.load_lr_test(), False)]
    assert not run_dir.report.exists()
    outcome = epsearch.run(file, directory=run_dir.path, listener=again)
    assert again.tests == [(outcome.lr_test, True)] == [(notes.tests[0][0], True)]
    assert len(again.ended) == len(outcome.trials)


def test_a_study_killed_after_the_test_does_not_repeat_it(study_folder: StudyFolder) -> None:
    """The test is saved as soon as it has run, before the trials are planned."""

    class Killed(Notes):
        def lr_tested(self, test: LrTest, *, reused: bool) -> None:
            super().lr_tested(test, reused=reused)
            raise KeyboardInterrupt

    file = study_folder.write(
        LINEAR, search={"eps": "endpoints", "lr": "auto", "beta2": 0.9}, engine={"name": "inline"}
    )
    notes, again = Killed(), Notes()
    with pytest.raises(KeyboardInterrupt):
        epsearch.run(file, directory=study_folder.run_directory, listener=notes)
    epsearch.run(file, directory=study_folder.run_directory, listener=again)
    assert again.tests == [(notes.tests[0][0], True)]
    assert not any("lr test" in text for text in again.stages)


def test_a_damaged_record(study_folder: StudyFolder) -> None:
    study = KnownStudy(study_folder, peak(-2, -4), sample.lr_test())
    (study_folder.run_directory / "lr_test.json").write_text("{}")
    with pytest.raises(epsearch.UserError, match=r"lr_test\.json: not a valid LrTest .* Delete it to test again"):
        study.run()


def test_an_optimum_on_the_ridge(study_folder: StudyFolder) -> None:
    """Three learning rates at each ε, the nearest to the ridge first; nothing is widened."""
    study, notes = KnownStudy(study_folder, peak(-2.5, -6), sample.lr_test()), Notes()
    outcome = study.run(notes)
    assert outcome.ridge is not None
    assert len(outcome.trials) == 15
    assert (outcome.best.lr, outcome.best.eps) == (0.003162, 1e-6) if outcome.best else False
    distances = [abs(math.log10(lr / outcome.ridge.lr(eps))) for lr, eps in cells_of(outcome)]
    assert [max(distances[start : start + 5]) for start in (0, 5, 10)] == sorted(
        max(distances[start : start + 5]) for start in (0, 5, 10)
    )
    assert max(distances[:5]) <= 0.25
    assert max(distances) <= 0.75
    assert notes.widenings == outcome.widenings == []


@pytest.mark.parametrize(("lr", "edge"), [(-5, "lowest"), (1, "highest")])
def test_a_suggestion_that_is_wrong_by_decades(lr: int, edge: str, study_folder: StudyFolder) -> None:
    """The grid widens towards the best lr until it lies within, in both directions, and says so."""
    study, notes = KnownStudy(study_folder, peak(lr, -4), sample.lr_test()), Notes()
    outcome = study.run(notes)
    assert outcome.best is not None
    assert (outcome.best.lr, outcome.best.eps) == (10.0**lr, 1e-4)
    assert notes.widenings == outcome.widenings
    assert {widening.edge for widening in outcome.widenings} == {edge}
    assert sum(widening.trials for widening in outcome.widenings) == len(outcome.trials) - 15
    at_best = sorted(lr for lr, eps in cells_of(outcome) if eps == 1e-4)
    assert at_best[0] < outcome.best.lr < at_best[-1]
    assert len(set(cells_of(outcome))) == len(outcome.trials)
    page = (study_folder.run_directory / "report.html").read_text()
    assert re.search(rf"was the {edge} tried there, so \d+ trials beyond it were added", page)
    assert not any("α" in step.text for step in verdict(outcome).advice)
    # Finished: the next run adds nothing.
    again = Notes()
    assert study.run(again) == outcome
    assert (again.ended, again.widenings) == ([], [])


def test_a_curve_that_tells_nothing(study_folder: StudyFolder) -> None:
    """The grid is the usual one, and widens as well; there is no ridge to draw."""
    study, notes = KnownStudy(study_folder, peak(0, -4), sample.lr_test(None)), Notes()
    outcome = study.run(notes)
    assert {lr for lr, _ in cells_of(outcome)[:20]} == {1e-4, 1e-3, 1e-2, 1e-1}
    assert outcome.best is not None
    assert outcome.best.lr == 1.0
    assert outcome.ridge is None
    assert "suggested no α, so a wide range was searched" in (study_folder.run_directory / "report.html").read_text()


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_samplers_search_the_box(sampler: str, study_folder: StudyFolder) -> None:
    """lr is drawn from the hull of the box at every ε; an optimum at its edge is left to the user."""
    study = KnownStudy(
        study_folder,
        peak(2, -3),
        sample.lr_test(),
        search={"eps": "continuous"},
        engine={"sampler": sampler, "trials": 24},
    )
    outcome = study.run()
    assert outcome.ridge is not None
    low, high = outcome.ridge.lr(1e-6) / 10, outcome.ridge.lr(1e-2) * 10
    assert all(0.99 * low <= lr <= 1.01 * high for lr, _ in cells_of(outcome))
    assert max(cells_of(outcome))[0] > high / 10
    assert len(outcome.trials) == 24


@pytest.mark.parametrize(("lr", "beyond"), [(-2.5, False), (1.5, True)])
def test_the_guided_sampler_widens_its_box(lr: float, beyond: bool, study_folder: StudyFolder) -> None:
    """It finds the best lr on half decades, on the ridge or outside of the first box, and the report says which."""
    engine = {"sampler": "guided", "trials": 25}
    outcome = KnownStudy(study_folder, peak(lr, -4), sample.lr_test(), engine=engine).run()
    assert outcome.best is not None
    assert (outcome.best.lr, outcome.best.eps) == (pytest.approx(10**lr, rel=1e-3), 1e-4)
    assert ("went beyond" in (study_folder.run_directory / "report.html").read_text()) == beyond
    assert outcome.is_grid("lr")


def test_the_advice_to_widen_eps_gives_what_the_probe_found(study_folder: StudyFolder) -> None:
    """`auto` needs the probe, and a study that gives ε has none."""
    outcome = KnownStudy(study_folder, peak(-2.5, -6), sample.lr_test()).run()
    (settings,) = [step.settings for step in verdict(outcome).advice if step.settings and "eps" in step.settings[0]]
    assert [setting.partition("=")[0] for setting in settings] == ["search.eps", "search.lr", "search.beta2"]


def test_probes_are_not_tested_without_auto(study_folder: StudyFolder) -> None:
    study, notes = KnownStudy(study_folder, peak(-2, -4), sample.lr_test(), search={"lr": [1e-3, 1e-2]}), Notes()
    outcome = study.run(notes)
    assert (notes.tests, outcome.lr_test) == ([], None)
    assert isinstance(outcome.probe, ProbeResult)
