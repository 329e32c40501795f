"""The tables of docs/reproduction.md and docs/benchmarks.md match the saved records."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def reproduction(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import reproduction

    yield reproduction
    sys.modules.pop("reproduction")


def test_the_page_matches_the_records(reproduction):
    found = json.loads(reproduction.RECORDS.read_text())
    page = reproduction.PAGE.read_text()
    assert reproduction.write(page, reproduction.tables(found)) == page


def test_the_probed_ranges_match_the_tables(reproduction, monkeypatch):
    pytest.importorskip("pyarrow")
    import ranges

    page = ranges.PAGE.read_text()
    assert reproduction.write(page, ranges.tables_of_page()) == page


def test_every_row_has_a_study_and_every_record_a_row(reproduction):
    rows = {row.key: row for row in [*reproduction.PAPER, *reproduction.FURTHER]}
    assert all(row.file.exists() for row in rows.values())
    assert json.loads(reproduction.RECORDS.read_text()).keys() <= rows.keys()


def test_a_range_more_than_a_decade_off_is_in_bold(reproduction):
    row = reproduction.Row("cifar10-vgg11")
    record = {"lower": 1e-6, "upper": 1e-1, "seconds": 7}
    lines = reproduction.ranges({row.key: record}).splitlines()
    assert "| 3 | VGG11, CIFAR-10 | Adam | 1e-6 to 1e-2 | 1e-6 to 1e-1 | +0, +1 | all | 7 |" in lines
    lines = reproduction.ranges({row.key: {**record, "lower": 1e-8}}).splitlines()
    assert "| 3 | VGG11, CIFAR-10 | Adam | 1e-6 to 1e-2 | **1e-8 to 1e-1** | -2, +1 | all | 7 |" in lines


def test_only_marked_parts_are_replaced(reproduction):
    page = "above\n<!-- some -->\nold\n<!-- end of some -->\nbelow\n"
    assert reproduction.write(page, {"some": "new"}) == page.replace("old", "new")


def test_the_first_steps_of_an_epoch_are_probed(reproduction, tmp_path, monkeypatch):
    """On bundled data: the same layers as the whole epoch, with other values."""
    file = tmp_path / "some.yaml"
    file.write_text("name: some\nworkload: {name: vision, dataset: digits, model: mlp}\ntraining: {epochs: 1}\n")
    monkeypatch.setattr(reproduction.Row, "file", file)
    monkeypatch.setattr(reproduction, "RUNS", tmp_path / "runs")
    part, whole = reproduction.run(reproduction.Row("some", steps=2)), reproduction.run(reproduction.Row("some"))
    assert [layer[0] for layer in part["layers"]] == [layer[0] for layer in whole["layers"]]
    assert part["shares"] != whole["shares"]
    assert 100 >= part["shares"]["1e-7"] >= part["shares"]["1e-1"] >= 0
    other = reproduction.run(reproduction.Row("some", ("probe.eps=1.0", "probe.lr=1.0"), steps=2))
    assert other["shares"] != part["shares"]
