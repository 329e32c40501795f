import json
from pathlib import Path

import pytest

from epsearch.core.errors import UserError
from epsearch.report.html.comparison import COLUMNS, comparison
from tests.report import hostile, sample
from tests.report.html.test_page import page, read
from tests.report.sample import trial


def named(directory: Path, name: str, **fields: object):
    return sample.outcome(directory / name, name=name, **fields)


def test_two_optimizers(tmp_path):
    better = [trial(0, 0.95, optimizer="adamw", lr=1e-3, eps=1e-4), trial(1, 0.8, optimizer="adamw", lr=1e-2, eps=1e-4)]
    runs = [named(tmp_path, "with-adam"), named(tmp_path, "with-adamw", optimizer="adamw", trials=better)]
    reader = read(comparison(runs))
    assert "with-adamw is best: accuracy 0.9500 with α 1e-3, ε 1e-4." in reader.text
    assert [attrs["id"] for tag, attrs in reader.tags if attrs.get("class") == "figure"] == ["map-0", "map-1"]
    rows = sum(tag == "tr" for tag, _ in reader.tags)
    assert rows == 3
    for column in COLUMNS:
        assert column in reader.text
    for kind in ("partial", "undecided"):
        assert kind in reader.text


def test_one_scale_of_colors(tmp_path):
    low = [trial(n, 0.2 + n / 100, lr=lr, eps=eps) for n, (lr, eps) in enumerate([(1e-3, 1e-4), (1e-2, 1e-5)])]
    html = comparison([named(tmp_path, "a"), named(tmp_path, "b", trials=low)])
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    axes = [figure["layout"]["coloraxis"] for figure in data["figures"].values()]
    assert len({(axis["cmin"], axis["cmax"]) for axis in axes}) == 1
    assert len(axes) == 2


def test_the_best_comes_first_where_lower_is_better(tmp_path):
    def of(name: str, value: float):
        trials = [trial(0, value, lr=1e-3), trial(1, value + 5, lr=1e-2)]
        return named(tmp_path, name, goal="minimize", metric="perplexity", trials=trials)

    text = read(comparison([of("first", 90.0), of("second", 80.0)])).text
    assert "second is best: perplexity 80.00" in text


def test_a_difference_within_the_tolerance_is_a_tie(tmp_path):
    def of(name: str, behind: float):
        trials = [trial.model_copy(update={"value": trial.value and trial.value - behind}) for trial in known.trials]
        return known.model_copy(update={"name": name, "trials": trials})

    known = sample.outcome(tmp_path)
    text = read(comparison([of("best", 0), of("near", 0.002), of("far", 0.1)])).text
    assert "Tied within 0.0066: near." in text
    assert "Tied within" not in read(comparison([of("best", 0), of("far", 0.1)])).text
    one = [trial(0, 0.95, lr=1e-3, eps=1e-4)]
    assert "too small to rule out chance" in read(comparison([named(tmp_path, "a", trials=one), of("far", 0.1)])).text


def test_runs_with_the_same_name_are_distinguished(tmp_path):
    runs = [sample.outcome(tmp_path / directory, name="same") for directory in ("one", "two")]
    text = read(comparison(runs)).text
    assert "same (one)" in text
    assert "same (two)" in text


def test_a_run_with_nothing_yet(tmp_path):
    text = read(comparison([named(tmp_path, "a"), named(tmp_path, "b", trials=[], probe=None)])).text
    assert "a is best" in text
    assert "No trial is complete yet." in read(comparison([named(tmp_path, "b", trials=[])] * 2)).text


def test_other_metrics(tmp_path):
    with pytest.raises(UserError, match="different metrics"):
        comparison([named(tmp_path, "a"), named(tmp_path, "b", metric="loss", goal="minimize")])
    many = [named(tmp_path, "a", metric=f"{number}" * 10_000) for number in range(100)]
    with pytest.raises(UserError) as raised:
        comparison(many)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("name", hostile.NAMES)
def test_hostile_names_stay_text(tmp_path, name):
    runs = [sample.outcome(tmp_path / "a", name=name, metric=name) for _ in range(2)]
    tags = {tag for tag, _ in read(comparison(runs)).tags}
    assert tags <= {tag for tag, _ in read(page(sample.outcome(tmp_path))).tags}
