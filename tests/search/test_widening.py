"""A shared study that goes beyond the edges of its learning rates, asked and told without an engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from epsearch.records.epsilon import EpsilonRange
from epsearch.records.trial import Cell, Ending, Trial
from epsearch.search.results import records
from epsearch.search.study import PLANNED, SharedStudy
from epsearch.study.box import HIGHEST, LOWEST
from epsearch.study.file import load_study
from epsearch.study.plan import spaces
from epsearch.study.space import Points, Ridged, half_decades
from tests.conftest import StudyFolder

Score = Callable[[Cell], float]


@pytest.fixture(autouse=True)
def silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """A grid along a ridge through lr 1e-2 at eps 1e-4, in memory; `open` is a new run of it."""

    def __init__(self, folder: StudyFolder, **search: Any) -> None:
        search = {"eps": "grid", "lr": "auto", "beta2": 0.999, **search}
        self.config = load_study(folder.write("", search=search))
        self._storage = optuna.storages.InMemoryStorage()
        self._spaces = spaces(self.config, EpsilonRange(lower=1e-6, upper=1e-2), None)
        found = self._spaces["adam"]
        if isinstance(found["lr"], Ridged):
            assert isinstance(found["eps"], Points)
            self._spaces["adam"] = {**found, "lr": half_decades(found["eps"].values, lambda eps: max(3e-3, 100 * eps))}

    def open(self) -> list[SharedStudy]:
        return [SharedStudy(self._storage, self.config, name, space) for name, space in self._spaces.items()]

    def run(self, score: Score, most: int = 1000) -> SharedStudy:
        """Run until nothing is left, or killed during the trial after `most` others."""
        studies, trials = self.open(), 0
        while True:
            for study in studies:
                while (active := study.ask()) is not None:
                    if trials == most:
                        return studies[0]
                    trials += 1
                    value = score(active.cell)
                    study.report(active, 0, value)
                    study.tell(active, Ending(kind="finished" if math.isfinite(value) else "diverged"))
            widenings = [study.widen() for study in studies]
            if not any(widenings):
                return studies[0]

    def trials(self, study: SharedStudy) -> list[Trial]:
        return records(study.study, study.optimizer, self.config.training)


def peak(lr: float, eps: float = -4) -> Score:
    return lambda cell: -abs(math.log10(cell.lr) - lr) - 2 * abs(math.log10(cell.eps or 1e-4) - eps)


@pytest.mark.parametrize(("lr", "widened"), [(-2, 0), (-3, 1), (-4, 2), (0, 2)])
def test_towards_the_best_lr(lr: float, widened: int, study_folder: StudyFolder) -> None:
    study = Study(study_folder)
    found = study.run(peak(lr))
    trials, best = study.trials(found), found.best()
    assert best is not None
    assert best.cell.lr == pytest.approx(10**lr, rel=1e-3)
    assert len(found.widenings) == widened
    assert len(trials) == 15 + 6 * widened == found.planned == found.study.user_attrs[PLANNED]
    assert len({(trial.lr, trial.eps) for trial in trials}) == len(trials)
    rates = [trial.lr for trial in trials if trial.eps == 1e-4 and trial.lr is not None]
    assert min(rates) < best.cell.lr < max(rates)


def test_a_diverged_neighbor_is_a_bound(study_folder: StudyFolder) -> None:
    def score(cell: Cell) -> float:
        return cell.lr if cell.lr < 4e-3 else math.nan

    study = Study(study_folder, eps="endpoints")
    found = study.run(score)
    assert found.widenings == []
    assert {trial.fail_reason for trial in study.trials(found) if (trial.lr or 0) > 4e-3} == {"diverged"}


@pytest.mark.parametrize(("lr", "limit"), [(-20, LOWEST), (20, HIGHEST)])
def test_it_ends(lr: float, limit: float, study_folder: StudyFolder) -> None:
    study = Study(study_folder)
    found = study.run(peak(lr))
    best = found.best()
    assert best is not None
    assert best.cell.lr == limit
    assert all(LOWEST <= (trial.lr or 0) <= HIGHEST for trial in study.trials(found))


@pytest.mark.parametrize("kills", [[3], [14], [15], [17], [21], [26], [2, 9, 13, 16, 19, 20, 22, 25]])
def test_a_killed_study_widens_as_it_would_have(kills: list[int], study_folder: StudyFolder, tmp_path: Any) -> None:
    """Wherever it is killed: in the first round, as a widening begins, or within one."""
    (tmp_path / "whole").mkdir()
    whole, killed = Study(StudyFolder(tmp_path / "whole")), Study(study_folder)
    expected = whole.run(peak(-5))
    for before, kill in zip([0, *kills], kills, strict=False):
        killed.run(peak(-5), most=kill - before)
    found = killed.run(peak(-5))
    done = [trial for trial in killed.trials(found) if trial.fail_reason != "lost"]
    assert [(trial.lr, trial.eps, trial.value) for trial in done] == [
        (trial.lr, trial.eps, trial.value) for trial in whole.trials(expected)
    ]
    assert found.widenings == expected.widenings
    assert found.planned == expected.planned == len(done)
    assert killed.open()[0].left == 0


def test_every_beta2_is_widened_and_baselines_are_not(study_folder: StudyFolder) -> None:
    study = Study(study_folder, beta2=[0.9, 0.99], baselines=["sgd_momentum"], sgd_lr=[0.1, 1.0])
    found = study.run(peak(-3))
    added = study.trials(found)[30:]
    assert {trial.beta2 for trial in added} == {0.9, 0.99}
    assert len(added) == 12
    assert len(study.trials(study.open()[1])) == 2


def test_a_study_deleted_at_its_last_trial(study_folder: StudyFolder) -> None:
    study = Study(study_folder)
    shared = study.open()[0]
    while (active := shared.ask()) is not None:
        shared.report(active, 0, peak(-5)(active.cell))
        shared.tell(active, Ending(kind="finished"))
    optuna.delete_study(study_name="test", storage=study._storage)
    assert shared.widen() is None
    assert shared.deleted


def test_an_earlier_run_with_other_learning_rates(study_folder: StudyFolder) -> None:
    """Their trials stay in the study, and do not count for the edge of the ridge's grid."""
    Study(study_folder, lr=[1e-7, 1e-6]).run(peak(-8))
    found = Study(study_folder).run(peak(-2))
    assert found.widenings == []
