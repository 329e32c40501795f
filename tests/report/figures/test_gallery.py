import pytest

from epsearch.report import figures
from epsearch.report.figures.gallery import GALLERY
from tests.report import sample
from tests.report.sample import trial


def test_every_figure_of_a_full_study(outcome):
    assert list(figures(outcome)) == [
        "landscape",
        "heatmap-lr-eps",
        "heatmap-eps-beta2",
        "probe-histogram",
        "eps-range",
        "sgd-momentum-lr",
        "trials-in-order",
    ]


def test_a_recorded_training_has_its_progress(tmp_path):
    names = list(figures(sample.outcome(tmp_path, history=sample.history())))
    assert names[3:6] == ["probe-histogram", "histogram-progress", "adaptive-share"]


def test_a_figure_of_one_arm_says_that_the_baselines_are_left_out(tmp_path):
    history = {"history": [(1, 0.4), (2, 0.5)], "seed_epochs": [2]}
    searched = [trial(n, 0.5, lr=10.0**-n, beta2=0.9 if n else 0.99, **history) for n in range(2)]
    baselines = [trial(n, 0.5, optimizer="sgd_momentum", eps=None) for n in range(3)]
    told = "; without the 3 trials of the baselines"

    def captions(trials):
        drawn = figures(sample.outcome(tmp_path, trials=trials))
        return {name: figure.layout.title.subtitle.text for name, figure in drawn.items()}

    found = captions([*searched, *baselines])
    alone = {"probe-histogram", "eps-range"}  # of the probe, which is no trial
    both = {"landscape", "sgd-momentum-lr"}  # which show the baseline
    assert {name for name, text in found.items() if told in text} == found.keys() - alone - both
    assert not any("baselines" in text for text in captions(searched).values())

    with_curve = captions([*searched, baselines[0].model_copy(update=history)])
    assert with_curve["learning-curves"].startswith("the best trial at each ε and the best of SGD with momentum; best")
    assert "without" not in with_curve["learning-curves"]
    assert with_curve["trials-in-order"].endswith("; without the 1 trial of the baselines")


def test_no_figures_of_an_empty_study(tmp_path):
    assert figures(sample.outcome(tmp_path, probe=None, trials=[])) == {}


def test_one_beta2_makes_no_map(tmp_path):
    trials = [trial(0, 0.5, beta2=0.999), trial(1, 0.5, beta2=0.999, lr=1e-2)]
    drawn = figures(sample.outcome(tmp_path, probe=None, trials=trials))
    assert list(drawn) == ["landscape", "heatmap-lr-eps", "trials-in-order"]


@pytest.mark.parametrize("axes", [{}, {"lr": "points", "eps": "points"}, {"beta2": "interval"}])
def test_points_make_a_heatmap_whatever_their_digits(tmp_path, axes):
    for lr in (1e-3, 0.00123456):
        drawn = figures(sample.outcome(tmp_path, trials=[trial(0, 0.5, lr=lr)], axes=axes))
        assert drawn["heatmap-lr-eps"].data[0].type == "heatmap"


@pytest.mark.parametrize("name", ["lr", "eps"])
def test_an_interval_makes_a_scatter_even_of_round_values(tmp_path, name):
    drawn = figures(sample.outcome(tmp_path, trials=[trial(0, 0.5)], axes={name: "interval"}))
    assert drawn["heatmap-lr-eps"].data[0].type == "scatter"


def test_learning_curves_of_drawn_eps_are_the_best_trials(tmp_path):
    trials = [trial(n, 0.5, history=[(1, 0.4), (2, 0.5)], seed_epochs=[2]) for n in range(2)]
    for kind, curves in (("points", 1), ("interval", 2)):
        drawn = figures(sample.outcome(tmp_path, trials=trials, axes={"eps": kind}))
        assert len(drawn["learning-curves"].data) == curves


def test_ids_are_unique():
    ids = [entry.id for entry in GALLERY]
    assert len(set(ids)) == len(ids)


def test_the_histogram_points_out_the_best_eps(outcome):
    notes = figures(outcome)["probe-histogram"].layout.annotations
    assert [note.text for note in notes] == ["ε lower 1e-6", "ε upper 1e-2", "best ε 1e-3"]


def test_a_study_of_the_baseline_alone(tmp_path):
    outcome = sample.outcome(tmp_path, optimizer="sgd_momentum", probe=None, trials=sample.baseline_trials(0))
    drawn = figures(outcome)
    assert list(drawn) == ["sgd-momentum-lr", "trials-in-order"]
    assert not any("adaptive" in (trace.name or "") for trace in drawn["sgd-momentum-lr"].data)


def test_several_epochs_are_a_learning_curve(tmp_path):
    history = [(1, 0.4), (2, 0.5)]
    two, one = ([trial(0, 0.5, history=history[:n], seed_epochs=[n])] for n in (2, 1))
    assert "learning-curves" in figures(sample.outcome(tmp_path, trials=two))
    assert "learning-curves" not in figures(sample.outcome(tmp_path, trials=one))
