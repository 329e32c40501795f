import math

import pytest

from epsearch.report.analysis.chance import chance
from tests.report import sample
from tests.report.sample import trial


@pytest.mark.parametrize(
    ("metric", "goal", "found"), [("loss", "minimize", 2.3), ("perplexity", "minimize", math.e**2.3)]
)
def test_from_the_first_losses_of_the_test(tmp_path, metric, goal, found):
    study = sample.outcome(tmp_path, metric=metric, goal=goal, lr_test=sample.lr_test(), trials=[trial(0, 0.4)])
    assert chance(study) == pytest.approx(found, rel=0.01)


def test_of_an_accuracy(tmp_path):
    assert chance(sample.outcome(tmp_path, lr_test=sample.lr_test())) == pytest.approx(0.1, rel=0.01)


def test_from_the_slowest_trials_if_they_are_alike(tmp_path):
    def found(slow):
        trials = [trial(n, value, lr=10.0 ** (n - 5), eps=1.0) for n, value in enumerate((*slow, 0.9))]
        return chance(sample.outcome(tmp_path, trials=[*trials, trial(9, 0.91, eps=1e-4)]))

    assert found((0.1, 0.101)) == 0.1
    assert found((0.1, 0.2)) is None
    assert found((0.899, 0.9)) is None, "these learned"


def test_unknown(tmp_path):
    assert chance(sample.outcome(tmp_path, trials=[])) is None
    assert chance(sample.outcome(tmp_path, trials=[trial(0, 0.9)])) is None
