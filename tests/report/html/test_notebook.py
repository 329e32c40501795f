import pytest

from tests.report import hostile, sample
from tests.report.html.test_page import read


def test_a_probe_shows_its_range_and_shares():
    text = read(sample.probe()._repr_html_()).text
    assert "Range of ε: 1e-6 to 1e-2 (adam, 8 layers)" in text
    assert "14.26%" in text


def test_an_outcome_shows_its_verdict_and_best_trials(outcome):
    reader = read(outcome._repr_html_())
    assert "cifar10-vgg11: The best ε seen is 1e-3." in reader.text
    assert "0.9120 ± 0.0014 (2 seeds)" in reader.text
    assert sum(tag == "tr" for tag, _ in reader.tags) == 1 + 5


def test_nothing_yet(tmp_path):
    assert "Undecided" in sample.outcome(tmp_path, trials=[])._repr_html_()


@pytest.mark.parametrize("name", hostile.NAMES)
def test_hostile_names_stay_text(tmp_path, name):
    html = sample.outcome(tmp_path, name=name, metric=name)._repr_html_()
    assert {tag for tag, _ in read(html).tags} <= {"p", "b", "pre", "div", "table", "thead", "tbody", "tr", "th", "td"}
