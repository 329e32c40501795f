"""What the shared study stores of a trial: values, epochs by seed, error."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from epsearch.core.errors import UserError
from epsearch.records.trial import ERROR_LIMIT, Ending, Trial
from epsearch.search.active_trial import ActiveTrial
from epsearch.search.results import SEED_EPOCHS, records
from epsearch.search.storage import open_storage
from epsearch.search.study import SharedStudy
from epsearch.study.config import StudyConfig
from epsearch.study.file import load_study
from epsearch.study.plan import spaces
from tests.conftest import StudyFolder


@pytest.fixture(autouse=True)
def silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Opened:
    """A study of own code over lr and eps, opened in SQLite without an engine."""

    def __init__(
        self, folder: StudyFolder, seeds: int = 1, epochs: int | None = 4, name: str = "test", **engine: Any
    ) -> None:
        training = {"seeds": list(range(seeds)), "epochs": epochs}
        self.config: StudyConfig = load_study(folder.write("", name=name, training=training, engine=engine))
        storage = open_storage(self.config.engine.storage or f"sqlite:///{folder.path}/study.db")
        ((optimizer, space),) = spaces(self.config, None, None).items()
        self.study = SharedStudy(storage, self.config, optimizer, space)

    def train(self, *curves: list[float], kind: str = "finished", **ending: Any) -> Trial:
        """The record of a trial whose seeds reported these values after each epoch."""
        active = self.study.ask()
        assert active is not None
        self.report(active, *curves)
        self.study.tell(active, Ending(kind=kind, **ending))  # type: ignore[arg-type]
        return self.trials[active.number]

    def report(self, active: ActiveTrial, *curves: list[float]) -> None:
        for seed_index, curve in enumerate(curves):
            for value in curve:
                self.study.report(active, seed_index, value)

    @property
    def trials(self) -> list[Trial]:
        return records(self.study.study, self.study.optimizer, self.config.training)


def test_values_near_the_limit_of_floats(study_folder: StudyFolder) -> None:
    """Their mean and spread are finite: the sum of two of them is not."""
    opened = Opened(study_folder, seeds=2)
    same, apart = opened.train([1.7e308, 1.6e308], [1.7e308]), opened.train([1.7e308], [-1.7e308])
    assert (same.value, same.spread) == (1.7e308, 0.0)
    assert (apart.value, apart.spread) == (0.0, sys.float_info.max)
    assert apart.seed_values == [1.7e308, -1.7e308]
    assert apart.curves == [[1.7e308], [-1.7e308]]


def test_a_seed_that_diverges_early_keeps_its_epochs_to_itself(study_folder: StudyFolder) -> None:
    opened = Opened(study_folder, seeds=3)
    trial = opened.train([1, 2, 3, 4], [5, math.nan], [6, 7, 8, 9])
    assert trial.curves == [[1, 2, 3, 4], [5], [6, 7, 8, 9]]
    assert trial.seed_epochs == [4, 1, 4]
    assert trial.epochs == 9
    # The same epoch of the same seed is the same step in every trial: pruners compare by it.
    assert [step for step, _ in trial.history] == [1, 2, 3, 4, 5, 9, 10, 11, 12]


@pytest.mark.parametrize("epochs", [None, 2], ids=["not given", "fewer than reports"])
def test_seeds_that_report_more_often_than_planned(epochs: int | None, study_folder: StudyFolder) -> None:
    """A user's loop may report any number of times; every value is kept."""
    trial = Opened(study_folder, seeds=2, epochs=epochs).train([1, 2, 3], [4, 5, 6, 7])
    assert trial.curves == [[1, 2, 3], [4, 5, 6, 7]]
    assert trial.epochs == 7


def test_a_trial_begun_again_counts_its_epochs_once(study_folder: StudyFolder) -> None:
    opened = Opened(study_folder, seeds=2)
    active = opened.study.ask()
    assert active is not None
    opened.report(active, [1, 2, 3, 4], [5, 6])
    active.restart()
    opened.report(active, [1, 2, 3, 4], [5, 6, 7])
    opened.study.tell(active, Ending(kind="finished"))
    (trial,) = opened.trials
    assert trial.curves == [[1, 2, 3, 4], [5, 6, 7]]
    assert (trial.value, trial.epochs) == (5.5, 7)


def test_wilcoxon_counts_the_epochs_that_were_trained(study_folder: StudyFolder) -> None:
    """Its history has a value for each seed, which is not a learning curve."""
    opened = Opened(study_folder, seeds=3, pruner="wilcoxon")
    trial = opened.train([1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11])
    assert trial.epochs == 11
    assert trial.seed_epochs == [4, 4, 3]
    assert trial.history == [(0, 4), (1, 8)]
    assert trial.curves == []


def test_a_running_trial_has_no_seeds_yet(study_folder: StudyFolder) -> None:
    opened = Opened(study_folder, seeds=2)
    active = opened.study.ask()
    assert active is not None
    opened.report(active, [1, 2])
    (trial,) = opened.trials
    assert (trial.state, trial.epochs, trial.seed_epochs, trial.curves) == ("running", 2, [], [])


@pytest.mark.parametrize(
    ("planned", "reports", "curves"),
    [
        (2, [1, 2, 3, 4], [[1, 2], [3, 4]]),
        (3, [1, 2, 3, 4], []),
        (None, [1, 2, 3, 4], [[1, 2], [3, 4]]),
        (None, [1, 2, 3], []),
    ],
)
def test_of_an_older_study_the_seeds_are_known_where_all_trained_as_long(
    planned: int | None, reports: list[float], curves: list[list[float]], study_folder: StudyFolder
) -> None:
    opened = Opened(study_folder, seeds=2, epochs=planned)
    active = opened.study.ask()
    assert active is not None
    for step, value in enumerate(reports, start=1):
        active.trial.report(value, step)
    active.trial.set_user_attr("seed_values", [2, 4])
    opened.study.study.tell(active.trial, 3.0)
    (trial,) = opened.trials
    assert SEED_EPOCHS not in opened.study.study.trials[0].user_attrs
    assert trial.curves == curves
    assert trial.epochs == len(reports)


def test_an_error_is_kept_bounded_and_readable(study_folder: StudyFolder) -> None:
    opened = Opened(study_folder)
    error = "ValueError: \udcff \x1b[31mred\x1b[0m \0 \x9b2J\nsecond line " + "x" * 5_000_000
    trial = opened.train([1.0], kind="raised", error=error)
    assert trial.error is not None
    assert trial.error.startswith("ValueError: \\udcff \\x1b[31mred\\x1b[0m \\x00 \\x9b2J\nsecond line xxx")
    assert len(trial.error) == ERROR_LIMIT
    assert len(opened.study.study.trials[0].user_attrs["error"]) == ERROR_LIMIT


def test_an_error_of_surrogates_alone_stays_bounded(tmp_path: Path) -> None:
    ending = Ending(kind="raised", error="\udcff" * ERROR_LIMIT)
    assert ending.error is not None
    assert len(ending.error) == ERROR_LIMIT
    ending.save(tmp_path / "ending.json")
    assert Ending.load(tmp_path / "ending.json") == ending


def test_a_storage_that_holds_a_study_with_other_settings(study_folder: StudyFolder) -> None:
    Opened(study_folder)
    with pytest.raises(UserError) as error:
        Opened(study_folder, epochs=5)
    assert str(error.value).splitlines() == [
        'the run directory\'s study.db: the study "test" has other settings:',
        "  training.epochs: was 4, is 5",
        "Undo the change to resume it, or choose another name.",
    ]
