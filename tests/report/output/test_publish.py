import json
import sys

import optuna
import pytest

from epsearch.report.figures.gallery import figures
from epsearch.report.output.publish import CARD, HEADING
from tests.report import hostile, sample

dashboard = pytest.importorskip("optuna_dashboard")


@pytest.fixture
def study(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(study_name="study", storage=f"sqlite:///{tmp_path}/study.db")


def published(study):
    from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

    return get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))


def test_figures_and_note_lie_in_the_study(study, outcome):
    sample.publish(study, outcome)
    assert set(published(study)) == set(figures(outcome)) - {"landscape", "trials-in-order"}
    assert "0.9120" in published(study)["heatmap-lr-eps"]
    assert dashboard.get_note(study).startswith(HEADING)


def test_the_verdict_heads_the_note_and_is_an_attribute_like_the_range(study, outcome):
    sample.publish(study, outcome)
    assert "**The best ε seen is 1e\\-3." in dashboard.get_note(study)
    assert study.user_attrs == {"epsearch:verdict": "partial", "epsearch:eps_range": [1e-6, 1e-2]}


def test_published_again_they_replace_the_old_ones(study, outcome):
    sample.publish(study, outcome)
    fewer = outcome.model_copy(update={"trials": outcome.trials[27:30]})
    sample.publish(study, fewer)
    assert "0.9120" not in published(study)["heatmap-lr-eps"]
    assert "Of 3 trials" in dashboard.get_note(study)
    assert dashboard.get_note(study).count(HEADING) == 1


def test_a_note_of_the_users_own_is_kept(study, outcome):
    dashboard.save_note(study, "my own thoughts")
    sample.publish(study, outcome)
    assert dashboard.get_note(study) == "my own thoughts"


def test_200_layers_do_not_break_the_study(study, tmp_path):
    sample.publish(study, sample.outcome(tmp_path, probe=sample.probe(200)))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    loaded = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path}/study.db")
    assert len(loaded.trials) == 1
    assert loaded.user_attrs.keys() == {"epsearch:verdict", "epsearch:eps_range"}  # figures are elsewhere


def test_names_are_no_markup_in_the_note(study, tmp_path):
    sample.publish(study, hostile.outcome(tmp_path, "<img src=x> [a](http://b)"))
    note = dashboard.get_note(study)
    assert "<img" not in note
    assert "](" not in note


@pytest.mark.parametrize("name", hostile.NAMES)
def test_hostile_names_can_be_published(study, tmp_path, name):
    sample.publish(study, hostile.outcome(tmp_path, name))
    assert len(published(study)) == 5


def test_without_the_dashboard_nothing_happens(study, outcome, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    sample.publish(study, outcome)
    assert published(study) == {}


def test_figures_fit_the_dashboards_cards(study, tmp_path):
    sample.publish(study, sample.outcome(tmp_path, probe=sample.probe(200)))
    heights = [json.loads(figure)["layout"]["height"] for figure in published(study).values()]
    assert max(heights) == CARD
