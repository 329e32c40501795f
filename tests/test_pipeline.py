"""Studies carried through for real, by the Python interface."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import epsearch
from epsearch import pipeline, redrawing
from epsearch.core.errors import UserError
from epsearch.records.listener import SILENT, Listener
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Cell, Ending
from epsearch.study.directory import RunDirectory
from tests.conftest import INLINE, StudyFolder
from tests.report import sample
from tests.workloads.real_data import skip_if_not_there

STUDIES = Path(__file__).parents[1] / "studies"

BOWL = """
    import math

    def train(run):
        for epoch in run.epochs():
            score = -abs(math.log10(run.lr) + 2) - 0.1 * abs(math.log10(run.eps) + 6) - 1 / (epoch + 1)
            run.report(score=score - 1e-3 * run.seed)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, below which runs/ is made."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quickstart(here: Path) -> None:
    """The README's study, shortened: probe, learning-rate test, grid, baseline, report."""
    outcome = epsearch.run(STUDIES / "quickstart.yaml", ["training.epochs=2", "training.seeds=[0]"])
    assert outcome.directory == here / "runs" / "quickstart"
    probe = outcome.probe
    assert probe is not None
    assert probe.settings["batches_per_epoch"] == 45  # 1,437 digits in batches of 32
    searched = [trial for trial in outcome.trials if trial.optimizer == "adam"]
    grid = {(trial.lr, trial.eps, trial.beta2) for trial in searched}
    added = sum(widening.trials for widening in outcome.widenings)
    assert len(searched) == len(grid) == 3 * len(probe.range.grid()) * 2 + added
    assert outcome.ridge is not None
    assert 1e-4 < outcome.ridge.lr(probe.range.lower) < 1e-1
    assert {trial.eps for trial in searched} == set(probe.range.grid())
    assert sum(trial.optimizer == "sgd_momentum" for trial in outcome.trials) == 5
    assert outcome.best is not None
    assert outcome.best.value == max(trial.value or 0 for trial in searched)
    assert outcome.best.value > 0.9
    names = {str(path.relative_to(outcome.directory)) for path in outcome.directory.rglob("*")}
    assert {"study.yaml", "probe.json", "lr_test.json", "study.db", "trials.csv", "report.html"} <= names
    assert {"figures/heatmap-lr-eps.html", "figures/heatmap-eps-beta2.html", "figures/probe-histogram.html"} <= names
    assert "figures/lr-test.html" in names


def test_the_report_is_drawn_while_the_study_runs(study_folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process, and what keeps it from being drawn does not keep the study from running."""
    monkeypatch.setattr(redrawing, "REDRAW_SECONDS", 0.0)
    directory = study_folder.run_directory
    drawn_here: list[bool] = []
    draw = pipeline.report_stage

    def drawing(*arguments: Any, redraw: bool) -> Outcome:
        drawn_here.append(redraw)
        return draw(*arguments, redraw=redraw)

    monkeypatch.setattr(pipeline, "report_stage", drawing)

    class Watching(Listener):
        seen: tuple[int, ...] = ()

        def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
            if not self.seen and number == 2:
                deadline = time.monotonic() + 120
                while not (directory / "trials.csv").exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                rows = (directory / "trials.csv").read_text().splitlines()
                self.seen = (sum(",complete," in row for row in rows),)
                (directory / "figures").rename(directory / "gone")
                (directory / "figures").touch()  # from here on nothing can be drawn

        def stage(self, text: str) -> None:
            if text == "report":
                (directory / "figures").unlink()

    watching = Watching()
    study = study_folder.write("def train(run):\n    run.report(score=run.lr)\n", training={"epochs": 1}, engine=INLINE)
    outcome = pipeline.run(study, directory=directory, listener=watching)
    assert watching.seen
    assert 0 < watching.seen[0] < 12
    assert drawn_here == [True], "the last one"
    assert sum(trial.state == "complete" for trial in outcome.trials) == 12


@pytest.mark.thorough
def test_fashion_mnist_for_real(here: Path) -> None:
    """60,000 images, an MLP, the two ends of the probed range."""
    skip_if_not_there("fashion_mnist")
    settings = ["training.epochs=1", "search.eps=endpoints", "search.lr=[1e-3]", "search.baselines=[]"]
    outcome = epsearch.run(STUDIES / "paper" / "fashion-mnist-mlp.yaml", settings)
    assert outcome.probe is not None
    assert outcome.probe.settings["batches_per_epoch"] == 469
    assert sorted(trial.eps or 0 for trial in outcome.trials) == outcome.probe.range.endpoints()
    # 469 batches: 1/(1 - beta2) must be at least that.
    assert {trial.beta2 for trial in outcome.trials} == {0.999}
    assert outcome.best is not None
    assert (outcome.best.value or 0) > 0.8


class Notes(Listener):
    def __init__(self) -> None:
        self.probes: list[bool] = []
        self.ended: list[Cell] = []

    def probed(self, result: ProbeResult, *, reused: bool) -> None:
        self.probes.append(reused)

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        self.ended.append(cell)


PROBED = """
    import torch

    def train(run):
        model = torch.nn.Linear(4, 1)
        optimizer = run.optimizer(model)
        for epoch in run.epochs(default=3):
            for _ in range(50):
                optimizer.zero_grad()
                loss = (model(torch.randn(8, 4)) - 1).square().mean()
                loss.backward()
                optimizer.step()
            run.report(score=-loss.item())
"""


def test_own_train_function_is_probe_and_trial(study_folder: StudyFolder) -> None:
    study = study_folder.write(
        PROBED, search={"eps": "endpoints", "lr": 1e-2, "beta2": "auto"}, training={"epochs": None}, engine=INLINE
    )
    notes = Notes()
    outcome = epsearch.run(study, directory=study_folder.run_directory, listener=notes)
    assert outcome.probe is not None
    assert outcome.probe.settings["batches_per_epoch"] == 50
    assert sorted(cell.eps or 0 for cell in notes.ended) == outcome.probe.range.endpoints()
    assert {cell.beta2 for cell in notes.ended} == {0.99}
    assert [trial.epochs for trial in outcome.trials] == [3] * len(outcome.trials)
    # The probe's record is used again: here by a grid, which keeps the ends that have finished.
    widened = epsearch.run(study, ["search.eps=grid"], study_folder.run_directory, notes)
    assert notes.probes == [False, True]
    assert len(widened.trials) == len(widened.probe.range.grid()) if widened.probe else False


@pytest.mark.thorough
@pytest.mark.parametrize("eps", ["grid", "continuous"])
def test_guided_search(eps: str, study_folder: StudyFolder) -> None:
    """Two workers, a pruner; the resumed study goes on with cells that it has not tried."""
    study = study_folder.write(
        PROBED,
        search={"eps": eps, "beta2": {"low": 0.9, "high": 0.999}, "baselines": ["sgd_momentum"]},
        training={"epochs": 3},
        engine={"sampler": "guided", "trials": 8, "workers": 2, "pruner": "median"},
    )
    outcome = epsearch.run(study, directory=study_folder.run_directory)
    assert outcome.probe is not None
    more = epsearch.run(study, ["engine.trials=14"], study_folder.run_directory)
    searched = [trial for trial in more.trials if trial.optimizer == "adam"]
    assert len(searched) == 14
    assert len({(trial.lr, trial.eps, trial.beta2) for trial in searched}) == 14
    assert {trial.eps for trial in searched} <= set(outcome.probe.range.grid())
    assert {searched[number].eps for number in (0, 1, 2)} >= set(outcome.probe.range.endpoints())
    assert all(trial.state in ("complete", "pruned") for trial in searched)


@pytest.mark.thorough
@pytest.mark.parametrize("own", [True, False], ids=["a user's loop", "our loop"])
def test_histograms_of_every_trial_are_kept(own: bool, study_folder: StudyFolder) -> None:
    """Of the first seed, without a change to what is learnt; the report has the best trial's."""
    settings = ["search.lr=[1e-2, 1e-3]", "search.eps=[1e-8, 1e-3]", "training.epochs=3", "training.seeds=[0, 1]"]
    if own:
        study = study_folder.write(PROBED, engine=INLINE)
    else:
        study = study_folder.write(
            "",
            workload={"train": None, "name": "vision", "dataset": "digits", "model": "mlp"},
            metric=None,
            engine=INLINE,
        )
        text = yaml.safe_load(study.read_text())
        del text["workload"]["train"], text["metric"]
        study.write_text(yaml.safe_dump(text))
        settings.append("search.baselines=[sgd_momentum]")
    plain = epsearch.run(study, settings, study_folder.path / "plain")
    assert plain.history is None
    assert not (plain.directory / "histograms").exists()
    outcome = epsearch.run(study, [*settings, "training.record_histograms=true"], study_folder.run_directory)
    assert [trial.history for trial in outcome.trials] == [trial.history for trial in plain.trials]
    files = {path.name for path in (outcome.directory / "histograms").iterdir()}
    assert files == {f"trial-{number}.json" for number in range(4)}
    assert outcome.best is not None
    assert outcome.history == epsearch.ProbeHistory.load(
        outcome.directory / "histograms" / f"trial-{outcome.best.number}.json"
    )
    assert [reading.epoch for reading in outcome.history.epochs] == [1, 2, 3]
    assert outcome.history.eps == outcome.best.eps
    assert outcome.history.settings["seed"] == 0
    for name in ("histogram-progress", "adaptive-share"):
        assert (outcome.directory / "figures" / f"{name}.html").exists()
        assert f'id="{name}"' in (outcome.directory / "report.html").read_text()
    # Recording can be turned off, or on, for the trials to come.
    assert epsearch.run(study, settings, study_folder.run_directory).history == outcome.history


def test_a_probe_whose_number_of_batches_was_deleted() -> None:
    from epsearch.study.file import load_study

    config = load_study(STUDIES / "quickstart.yaml", ["search.beta2=auto"])
    for stage, more in ((pipeline.space_stage, []), (pipeline.lr_test_stage, [SILENT])):
        with pytest.raises(UserError, match=r"probe.json: settings.batches_per_epoch is missing. Delete the file"):
            stage(config, RunDirectory(Path("run")), None, sample.probe(), *more)  # type: ignore[operator]


def test_finished_study_is_left_alone(study_folder: StudyFolder) -> None:
    study = study_folder.write(BOWL, engine=INLINE)
    first = epsearch.run(study, directory=study_folder.run_directory)
    before = {
        path: path.stat().st_mtime_ns
        for path in first.directory.rglob("*.*")
        if path.name not in ("study.yaml", ".lock", "study.db")  # the driver's lease is written there and removed
    }
    notes = Notes()
    second = epsearch.run(study, directory=study_folder.run_directory, listener=notes)
    assert notes.ended == []
    assert second.trials == first.trials
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_page_that_another_version_drew_is_drawn_again(study_folder: StudyFolder) -> None:
    study = study_folder.write(BOWL, engine=INLINE)
    report = epsearch.run(study, directory=study_folder.run_directory).directory / "report.html"
    text = report.read_text()
    assert text.count(f'content="epsearch {epsearch.__version__}, format') == 1
    for older in (text.replace(f"epsearch {epsearch.__version__},", "epsearch 0.0.1,"), "<!DOCTYPE html>", ""):
        report.write_text(older)
        epsearch.run(study, directory=study_folder.run_directory)
        assert report.read_text() == text


def test_lower_is_better(study_folder: StudyFolder) -> None:
    study = study_folder.write(BOWL.replace("score=score", "score=-score"), metric={"goal": "minimize"}, engine=INLINE)
    outcome = epsearch.run(study, directory=study_folder.run_directory)
    assert outcome.best is not None
    assert (outcome.best.lr, outcome.best.eps) == (1e-2, 1e-6)
    assert outcome.best.value == pytest.approx(0.5)


def test_report_is_redrawn_from_the_directory_alone(study_folder: StudyFolder) -> None:
    from epsearch import pipeline

    study = study_folder.write(BOWL, engine=INLINE)
    outcome = epsearch.run(study, directory=study_folder.run_directory)
    report = outcome.directory / "report.html"
    before = report.read_text()
    report.unlink()
    study.unlink()
    (study_folder.path / "my_code.py").unlink()
    again: Outcome = pipeline.report(outcome.directory)
    assert again == outcome
    assert len(report.read_text()) == len(before)


def test_example_studies_are_valid() -> None:
    from epsearch.study.file import load_study

    files = sorted(STUDIES.rglob("*.yaml"))
    assert len(files) >= 2
    for file in files:
        assert load_study(file).name == yaml.safe_load(file.read_text())["name"]


def test_the_run_directorys_own_study_file_goes_on(study_folder: StudyFolder) -> None:
    """As the report says: the resolved file finds the user's module where the study file did."""
    study = study_folder.write(BOWL, engine=INLINE)
    epsearch.run(study, ["search.lr=1e-3"], study_folder.run_directory)
    outcome = epsearch.run(
        study_folder.run_directory / "study.yaml", ["search.lr=[1e-3, 1e-2]"], study_folder.run_directory
    )
    assert [trial.state for trial in outcome.trials] == ["complete"] * 6
