import re
from html.parser import HTMLParser

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.gallery import figures
from epsearch.report.html import page as module
from tests.report import hostile, sample
from tests.report.sample import trial


def page(outcome):
    return module.page(outcome, figures(outcome))


class Reader(HTMLParser):
    """The tags of a page, and its text outside of scripts and styles."""

    def __init__(self):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw = False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.raw = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.raw = False

    def handle_data(self, data):
        if not self.raw:
            self.text += data


def read(html):
    reader = Reader()
    reader.feed(html)
    return reader


def test_one_file_with_plotly_once_and_no_requests(outcome):
    html = page(outcome)
    assert len(html.encode()) < 7_000_000
    assert html.count(get_plotlyjs()) == 1
    tags = read(html).tags
    assert not [(tag, attrs) for tag, attrs in tags if "src" in attrs or "href" in attrs]
    (policy,) = [attrs["content"] for _, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_the_head_says_what_was_found(outcome):
    text = read(page(outcome)).text
    assert "cifar10-vgg11" in text
    assert "adam · 80 trials · 77 minutes of training · epsearch" in text
    assert "1e-6 to 1e-2" in text
    assert "5 powers of ten" in text
    assert "0.9120" in text
    assert "67 of 80 trials complete" in text


def test_the_first_screen_comes_before_all_that_folds(outcome):
    html = page(outcome)
    first, rest = html.split("<details", maxsplit=1)
    found = verdict(outcome)
    assert [attrs["id"] for tag, attrs in read(first).tags if attrs.get("class") == "figure"] == ["landscape"]
    text = read(first).text
    for shown in (found.headline, found.action, found.line, found.sure, *(step.text for step in found.advice[:1])):
        assert shown in text
    assert found.reasons[0] not in text
    # Outside of a fold there is nothing more.
    assert read("<details" + rest).tags[0] == ("details", {})
    closed = rest[: rest.index("</main>")]
    assert closed.count("</details>") == closed.count("<details") + 1
    assert closed.rstrip().endswith("</details>")


def test_without_trials_the_first_figure_is_open(tmp_path):
    tags = read(page(sample.outcome(tmp_path, trials=[]))).tags
    assert next(attrs for tag, attrs in tags if tag == "details") == {"open": None}


def test_the_verdict_its_reasons_and_the_next_command(outcome, tmp_path):
    found = verdict(outcome)
    text = read(page(outcome)).text
    for said in (found.headline, *found.reasons, *(step.text for step in found.advice)):
        assert said in text
    fixed = sample.outcome(tmp_path, trials=[trial(0, 0.9)], probe=None)
    assert "--set search.eps=grid" in read(page(fixed)).text
    assert 'id="verdict"' not in page(sample.outcome(tmp_path, trials=[]))


def test_sections_and_tables(outcome):
    reader = read(page(outcome))
    ids = [attrs["id"] for tag, attrs in reader.tags if attrs.get("class") == "figure"]
    assert ids == list(figures(outcome))
    rows = sum(tag == "tr" for tag, _ in reader.tags)
    assert rows == 1 + len(outcome.probe.layers) + 1 + len(outcome.trials)
    assert "classifier.unused" in reader.text
    assert "out of memory" in reader.text
    assert f"epsearch dashboard {outcome.directory}" in reader.text


def test_a_recorded_training_has_its_table(tmp_path):
    text = read(page(sample.outcome(tmp_path, history=sample.history(2)))).text
    start = text.index("Share of ẑ above ε after each epoch of the best trial")
    shares = [f"{np.mean(sample.z(epoch) > 1e-3):.2%}" for epoch in (1, 2)]
    assert "epochs trained" in text[start:]
    assert all(share in text[start:] for share in shares)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"trials": [], "probe": None}, "No trial has run yet."),
        ({"trials": []}, "No map of α and ε yet"),
        ({"trials": [trial(0)]}, "No trial of adam is complete yet."),
        ({"trials": [trial(0, 0.5)], "probe": None}, "β₂ was not varied."),
        ({"trials": [trial(0, 0.5, beta2=0.999)]}, "It was 0.999 in every trial."),
        ({"trials": [trial(0, state="failed", fail_reason="diverged")]}, "1 failed (1 diverged)"),
    ],
)
def test_partial_studies(tmp_path, fields, says):
    assert says in read(page(sample.outcome(tmp_path, **fields))).text


@pytest.mark.parametrize("name", hostile.NAMES)
def test_hostile_names_stay_text(tmp_path, name):
    usual = read(page(hostile.outcome(tmp_path, "name")))
    reader = read(page(hostile.outcome(tmp_path, name)))
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in usual.tags]
    assert " ".join(name.split())[:40] in re.sub(r"\s+", " ", reader.text)


def test_a_directory_with_blanks_is_quoted(tmp_path):
    assert f"epsearch report '{tmp_path}/my runs'" in read(page(sample.outcome(tmp_path / "my runs"))).text
