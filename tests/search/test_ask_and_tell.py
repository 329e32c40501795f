"""The shared study in Optuna's in-memory storage: ask, tell, retries, pruning, seeds, resume, deletion."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from optuna.trial import TrialState

from epsearch.core.errors import UserError
from epsearch.records.trial import Ending
from epsearch.search.active_trial import ActiveTrial
from epsearch.search.queue import RETRY_OF
from epsearch.search.study import PLANNED, SharedStudy
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study
from epsearch.study.plan import spaces
from tests.conftest import StudyFolder

CELLS = {(lr, eps) for lr in (1e-4, 1e-3, 1e-2, 1e-1) for eps in (1e-8, 1e-6, 1e-4)}


@pytest.fixture(autouse=True)
def silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Memory:
    """A study file, and one in-memory storage that every run of it opens."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder, self.storage = folder, optuna.storages.InMemoryStorage()
        self.run_dir = RunDirectory(folder.run_directory)

    def open(self, *, directory: bool = False, **sections: Any) -> SharedStudy:
        config = load_study(self.folder.write("", **sections))
        ((optimizer, space),) = spaces(config, None, None).items()
        return SharedStudy(self.storage, config, optimizer, space, self.run_dir if directory else None)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return optuna.load_study(study_name="test", storage=self.storage).get_trials()


@pytest.fixture
def memory(study_folder: StudyFolder) -> Memory:
    return Memory(study_folder)


def next_trial(study: SharedStudy) -> ActiveTrial:
    active = study.ask()
    assert active is not None
    return active


def run_one(study: SharedStudy, value: float = 1.0, kind: str = "finished") -> ActiveTrial:
    """Ask for a trial, report one epoch, and tell how it ended."""
    active = next_trial(study)
    study.report(active, 0, value)
    study.tell(active, Ending(kind=kind))  # type: ignore[arg-type]
    return active


def run_rest(study: SharedStudy) -> None:
    while study.left:
        run_one(study)


def cells_of(trials: list[optuna.trial.FrozenTrial]) -> Counter[tuple[float, float]]:
    return Counter((trial.params["lr"], trial.params["eps"]) for trial in trials)


def test_a_grid_asks_for_every_cell_once(memory: Memory) -> None:
    study = memory.open()
    assert (study.left, study.done, study.planned, study.independent) == (12, 0, 12, True)
    cells = [run_one(study).cell for _ in range(12)]
    assert {(cell.lr, cell.eps) for cell in cells} == CELLS
    assert {cell.beta2 for cell in cells} == {0.999}
    assert study.left == 0
    assert study.ask() is None
    assert [trial.number for trial in memory.trials] == list(range(12))
    assert study.study.user_attrs[PLANNED] == 12


def test_a_running_trial_has_its_parameters(memory: Memory) -> None:
    active = next_trial(memory.open())
    (trial,) = memory.trials
    assert (trial.state, trial.params["lr"]) == (TrialState.RUNNING, active.cell.lr)


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_the_value_is_the_mean_over_seeds_of_the_best_epochs(
    goal: Literal["maximize", "minimize"], memory: Memory
) -> None:
    study = memory.open(training={"seeds": [0, 1], "epochs": 3}, metric={"name": "score", "goal": goal})
    active = next_trial(study)
    for seed_index, curve in enumerate(([1.0, 3.0, 2.0], [5.0, math.nan, 6.0])):
        for value in curve:
            assert study.report(active, seed_index, value)
    best = [3.0, 6.0] if goal == "maximize" else [1.0, 5.0]
    assert study.tell(active, Ending(kind="finished")) == sum(best) / 2
    (trial,) = memory.trials
    assert trial.value == sum(best) / 2
    assert trial.user_attrs["seed_values"] == best
    # NaN is not reported; the second seed's epochs begin where the first seed's end.
    assert trial.intermediate_values == {1: 1.0, 2: 3.0, 3: 2.0, 4: 5.0, 5: 6.0}


@pytest.mark.parametrize("kind", ["raised", "died", "timed_out", "lost", "diverged"])
def test_a_failed_trial(kind: str, memory: Memory) -> None:
    """The next run retries its cell and names the trial that failed, except where it diverged."""
    study = memory.open()
    failed = next_trial(study)
    assert study.tell(failed, Ending(kind=kind, error="why")) is None  # type: ignore[arg-type]
    (trial,) = memory.trials
    assert (trial.state, trial.user_attrs["fail_reason"], trial.user_attrs["error"]) == (TrialState.FAIL, kind, "why")
    # This run does not retry it.
    run_rest(study)
    assert len(memory.trials) == 12
    again = memory.open()
    if kind == "diverged":
        assert (again.left, again.done) == (0, 12)
        return
    assert (again.left, again.done) == (1, 11)
    retry = run_one(again)
    assert retry.cell == failed.cell
    assert memory.trials[retry.number].user_attrs[RETRY_OF] == 0


def test_retries_of_retries_use_the_first_checkpoint(memory: Memory) -> None:
    """A cell that dies in every run always resumes from the same file."""
    files: set[Path | None] = set()
    for _ in range(3):
        study = memory.open(directory=True, training={"checkpoint_every": 0}, search={"lr": 1e-3, "eps": 1e-8})
        active = next_trial(study)
        files.add(active.checkpoint)
        study.tell(active, Ending(kind="died"))
    assert files == {memory.run_dir.checkpoint("adam", 0)}
    assert [trial.user_attrs.get(RETRY_OF) for trial in memory.trials] == [None, 0, 1]


@pytest.mark.parametrize(("kind", "kept"), [("died", True), ("lost", True), ("raised", False), ("finished", False)])
def test_which_checkpoints_are_kept(kind: str, kept: bool, memory: Memory) -> None:
    study = memory.open(directory=True, training={"checkpoint_every": 0})
    active = next_trial(study)
    assert active.checkpoint is not None
    active.checkpoint.parent.mkdir(parents=True)
    active.checkpoint.touch()
    study.report(active, 0, 1.0)
    study.tell(active, Ending(kind=kind))  # type: ignore[arg-type]
    assert active.checkpoint.exists() == kept


def test_a_trial_that_a_killed_driver_left_is_lost_and_retried(memory: Memory) -> None:
    killed = next_trial(memory.open())
    study = memory.open()
    assert memory.trials[0].user_attrs["fail_reason"] == "lost"
    assert study.left == 12
    run_rest(study)
    assert cells_of([t for t in memory.trials if t.state == TrialState.COMPLETE]) == dict.fromkeys(CELLS, 1)
    assert [t.params["lr"] for t in memory.trials if t.user_attrs.get(RETRY_OF) == 0] == [killed.cell.lr]


def test_resuming_runs_the_missing_cells_alone(memory: Memory) -> None:
    first = memory.open()
    for _ in range(5):
        run_one(first)
    second = memory.open()
    assert (second.done, second.left, second.planned) == (5, 7, 12)
    run_rest(second)
    assert cells_of(memory.trials) == dict.fromkeys(CELLS, 1)
    assert memory.open().left == 0


def test_a_wider_grid_adds_its_cells(memory: Memory) -> None:
    run_rest(memory.open())
    wider = memory.open(search={"lr": {"low": 1e-4, "high": 1.0}})
    assert (wider.done, wider.left) == (12, 3)
    run_rest(wider)
    assert {trial.params["lr"] for trial in memory.trials[12:]} == {1.0}


def test_a_sampler_makes_its_number_of_trials_over_all_runs(memory: Memory) -> None:
    engine = {"sampler": "tpe", "trials": 6}
    study = memory.open(engine=engine)
    assert (study.left, study.independent) == (6, False)
    for _ in range(2):
        run_one(study)
    run_one(study, kind="raised")
    resumed = memory.open(engine=engine)
    assert (resumed.done, resumed.left) == (2, 4)
    retry = run_one(resumed)
    assert memory.trials[retry.number].user_attrs[RETRY_OF] == 2
    run_rest(resumed)
    assert Counter(trial.state for trial in memory.trials) == {TrialState.COMPLETE: 6, TrialState.FAIL: 1}


def test_pruning(memory: Memory) -> None:
    """Optuna's median pruner, after five trials: the sixth stops at its first bad epoch, and is not run again."""
    study = memory.open(engine={"pruner": "median"})
    assert study.prunes
    for _ in range(5):
        run_one(study, 1.0)
    bad = next_trial(study)
    assert study.report(bad, 0, 0.0) is False
    assert study.tell(bad, Ending(kind="pruned")) is None
    assert memory.trials[5].state == TrialState.PRUNED
    assert memory.open(engine={"pruner": "median"}).done == 6


def test_without_a_pruner_every_trial_continues(memory: Memory) -> None:
    study = memory.open()
    assert not study.prunes
    for _ in range(6):
        run_one(study, 1.0)
    assert study.report(next_trial(study), 0, -1e9)


def test_a_restarted_trial_reports_no_step_twice(memory: Memory) -> None:
    """The first process's values stand; the pruner does not see those epochs again."""
    study = memory.open(training={"epochs": 3})
    active = next_trial(study)
    for value in (1.0, 2.0):
        study.report(active, 0, value)
    active.restart()
    for value in (9.0, 2.0, 3.0):
        assert study.report(active, 0, value)
    study.tell(active, Ending(kind="finished"))
    assert memory.trials[0].intermediate_values == {1: 1.0, 2: 2.0, 3: 3.0}


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.FAIL])
def test_a_trial_ended_from_outside_keeps_what_was_set(state: TrialState, memory: Memory) -> None:
    study = memory.open()
    active = next_trial(study)
    study.report(active, 0, 1.0)
    study.study.tell(active.number, 7.0 if state == TrialState.COMPLETE else None, state=state)
    assert study.report(active, 0, 2.0) is False
    assert study.tell(active, Ending(kind="finished")) is None
    assert active.interference is not None
    assert active.interference.startswith(f"it was marked {state.name} from outside")
    assert memory.trials[0].value == (7.0 if state == TrialState.COMPLETE else None)
    assert memory.open().left == (11 if state == TrialState.COMPLETE else 12)


def test_a_deleted_study_ends(memory: Memory) -> None:
    study = memory.open()
    active = next_trial(study)
    optuna.delete_study(study_name="test", storage=memory.storage)
    assert study.report(active, 0, 1.0) is False
    assert (study.deleted, study.left) == (True, 0)
    assert study.ask() is None
    assert study.tell(active, Ending(kind="finished")) is None
    assert active.interference == "its study was deleted from the storage"


def test_a_study_deleted_between_two_trials(memory: Memory) -> None:
    study = memory.open()
    run_one(study)
    optuna.delete_study(study_name="test", storage=memory.storage)
    assert study.ask() is None
    assert study.deleted


def test_the_best_trial_and_ties(memory: Memory) -> None:
    study = memory.open()
    assert study.best() is None
    first = run_one(study, 2.0)
    run_one(study, 2.0)
    run_one(study, 1.0)
    best = study.best()
    assert best is not None
    assert (best.value, best.cell) == (2.0, first.cell)


def test_another_study_of_the_same_name(memory: Memory) -> None:
    """The same cells trained differently are refused, and the message says what differs."""
    run_one(memory.open())
    with pytest.raises(UserError, match=r"has other settings:\n  training\.epochs: was 2, is 3\nUndo the change"):
        memory.open(training={"epochs": 3})


def test_a_study_that_epsearch_did_not_make(memory: Memory) -> None:
    optuna.create_study(study_name="test", storage=memory.storage, direction="maximize").add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    with pytest.raises(UserError, match='already holds a study "test" that epsearch did not make'):
        memory.open()
