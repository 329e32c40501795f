import pytest

from epsearch.report.figures.timeline import plot_timeline, timeline_info
from tests.report.sample import trial


def info_of(trials, goal="maximize"):
    return timeline_info(trials, goal=goal, metric="accuracy")


def test_the_best_so_far_follows_the_goal():
    trials = [trial(0, 0.5), trial(1, 0.8), trial(2, 0.7), trial(3, 0.9)]
    assert info_of(trials).best == (0.5, 0.8, 0.8, 0.9)
    assert info_of(trials).improved == (0, 1, 3)
    assert info_of(trials, "minimize").best == (0.5, 0.5, 0.5, 0.5)
    assert info_of(trials, "minimize").improved == (0,)


def test_by_number_whatever_the_order_and_without_those_that_wait():
    info = info_of([trial(2, 0.9), trial(3), trial(0, 0.5), trial(1, state="running")])
    assert [cell.trial.number for cell in info.trials] == [0, 1, 2]
    assert info.best == (0.5, 0.5, 0.9)


def test_ties_and_trials_without_a_value_do_not_improve_the_best():
    trials = [
        trial(0, state="failed", fail_reason="diverged"),
        trial(1, 0.5),
        trial(2, 0.5),
        trial(3, 0.9, state="pruned"),
    ]
    info = info_of(trials)
    assert info.best == (None, 0.5, 0.5, 0.5)
    assert info.improved == (1,)
    figure = plot_timeline(info)
    assert figure.layout.title.subtitle.text == "best 0.5000 (trial 1); 2 later trials did not improve it"
    assert {trace.name for trace in figure.data} == {"complete", "best so far", "diverged", "pruned"}


def test_one_bad_value_stands_on_the_edge():
    info = info_of([trial(0, 2000.0), *(trial(number, 90.0 + number) for number in range(1, 8))], "minimize")
    assert info.axis[1] < 120
    points = plot_timeline(info).data[0]
    assert points.y[0] == info.axis[1]
    assert "2000" in points.hovertext[0]
    assert plot_timeline(info).layout.title.subtitle.text.endswith("; 1 worse value drawn at the edge")


@pytest.mark.parametrize("trials", [[], [trial(0)], [trial(0, state="failed", fail_reason="diverged")]])
def test_nothing_complete(trials):
    assert plot_timeline(info_of(trials)).layout.title.subtitle.text == "no complete trial yet"


def test_values_that_are_all_the_same():
    figure = plot_timeline(info_of([trial(0, 0.5), trial(1, 0.5)]))
    low, high = figure.layout.yaxis.range
    assert low < 0.5 < high
