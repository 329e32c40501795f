import pytest

from epsearch.records.trial import best_trial
from epsearch.report.analysis.cells import cell_of, state_of
from tests.report.sample import trial


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"value": 0.9}, "complete"),
        ({"state": "complete"}, "failed"),
        ({"state": "failed", "fail_reason": "diverged"}, "diverged"),
        ({"state": "failed", "fail_reason": "raised"}, "failed"),
        ({"state": "failed"}, "failed"),
        ({"state": "pruned", "value": 0.5}, "pruned"),
        ({"state": "running"}, "missing"),
        ({"state": "waiting"}, "missing"),
    ],
)
def test_states(fields, state):
    assert state_of(trial(0, **fields)) == state


def test_nothing_ran():
    cell = cell_of([], "maximize")
    assert (cell.state, cell.trial, cell.value) == ("missing", None, None)


@pytest.mark.parametrize(("goal", "number"), [("maximize", 1), ("minimize", 0)])
def test_the_best_trial_represents_the_cell(goal, number):
    cell = cell_of([trial(0, 0.1), trial(1, 0.3), trial(2, 0.2)], goal)
    assert cell.trial.number == number


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_of_equals_the_earliest(goal):
    assert best_trial([trial(3, 0.5), trial(1, 0.5), trial(2, 0.5)], goal).number == 1


def test_a_value_beats_every_other_state_even_a_better_pruned_one():
    pruned = trial(0, 0.99, state="pruned")
    assert cell_of([pruned, trial(1, 0.5)], "maximize").value == 0.5
    assert cell_of([pruned], "maximize").value is None


def test_a_lost_trial_that_waits_again_is_not_failed():
    lost = trial(0, state="failed", fail_reason="lost")
    assert cell_of([lost, trial(1)], "maximize").state == "missing"
    assert cell_of([lost, trial(1, 0.5)], "maximize").state == "complete"
