import pytest

from epsearch.report.figures.baseline import BASELINE
from epsearch.report.figures.learning import MOST, learning_info, plot_learning
from tests.report.sample import trial


def learnt(number, values, **fields):
    """A trial whose only seed, or each of `seed_epochs`, reported these values, one after the other."""
    history = list(enumerate(values, start=1))
    return trial(number, max(values), **{"history": history, "seed_epochs": [len(values)]} | fields)


def info_of(trials, goal="maximize", points=True):
    return learning_info(trials, "adam", goal=goal, metric="accuracy", points=points)


def test_the_best_trial_at_each_eps_by_ascending_eps():
    info = info_of(
        [
            learnt(0, [0.1, 0.6], eps=1e-2),
            learnt(1, [0.2, 0.5], eps=1e-4),
            learnt(2, [0.2, 0.7], eps=1e-4, lr=1e-2),
            trial(3, eps=1e-6, state="failed", fail_reason="diverged"),
        ]
    )
    assert [(curve.trial.number, curve.values) for curve in info.curves] == [(2, (0.2, 0.7)), (0, (0.1, 0.6))]
    assert info.best.number == 2
    assert info.points
    names = [trace.name for trace in plot_learning(info).data]
    assert names == ["ε 1e-4 (best)", "ε 1e-2"]


def test_of_drawn_eps_the_best_few_whatever_their_eps():
    trials = [learnt(number, [0.5, 0.5 + number / 100], eps=1e-4 * 1.2345678**number) for number in range(20)]
    info = info_of(trials, points=False)
    assert [curve.trial.number for curve in info.curves] == list(range(20 - MOST, 20))


def test_seeds_follow_each_other_and_are_averaged():
    (curve,) = info_of([learnt(0, [0.1, 0.3, 0.3, 0.5], seed_epochs=[2, 2])]).curves
    assert curve.values == pytest.approx((0.2, 0.4))


def test_of_a_seed_that_diverged_early_its_own_epochs_count():
    """And no other epochs shift because of it."""
    (curve,) = info_of([learnt(0, [0.1, 0.3, 0.5, 0.7], seed_epochs=[1, 3])]).curves
    assert curve.values == pytest.approx((0.2, 0.5, 0.7))


def test_no_curve_if_the_seeds_cannot_be_separated():
    """Wilcoxon's history has the best of each seed."""
    assert info_of([learnt(0, [0.1, 0.3], seed_epochs=[5, 5, 5])]).curves == ()


def test_values_near_the_limit_of_floats():
    (curve,) = info_of([learnt(0, [1.7e308, 1.6e308, 1.7e308, 1.5e308], seed_epochs=[2, 2])]).curves
    assert curve.values == (1.7e308, pytest.approx(1.55e308))


def test_the_baseline_beside_it():
    info = info_of([learnt(0, [0.1, 0.6]), learnt(0, [0.4, 0.5], optimizer=BASELINE, eps=None)])
    assert info.baseline.values == (0.4, 0.5)
    assert plot_learning(info).data[-1].name == "SGD with momentum"


def test_the_lowest_is_best_where_lower_is_better():
    first = learnt(0, [200.0, 90.0]).model_copy(update={"value": 90.0})
    second = learnt(1, [200.0, 80.0]).model_copy(update={"value": 80.0})
    assert [curve.trial.number for curve in info_of([first, second], "minimize").curves] == [1]


def test_perplexities_that_begin_high_are_on_a_log_axis():
    figure = plot_learning(info_of([learnt(0, [2000.0, 90.0, 80.0])], "minimize"))
    assert figure.layout.yaxis.type == "log"
    assert plot_learning(info_of([learnt(0, [0.1, 0.9])])).layout.yaxis.type is None


def test_a_hostile_metric_is_escaped():
    info = learning_info([learnt(0, [0.1, 0.2])], "adam", goal="maximize", metric="<b>x</b>")
    figure = plot_learning(info)
    assert "<b>" not in figure.layout.title.text + figure.layout.yaxis.title.text + figure.data[0].hovertext[0]


def test_no_curves_yet():
    assert info_of([trial(0), trial(1, 0.5)]).curves == ()
    assert plot_learning(info_of([])).data == ()
