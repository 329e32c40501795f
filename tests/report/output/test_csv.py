import csv
import io

import pytest

from epsearch.report.output.csv import COLUMNS, trials_csv
from tests.report import sample
from tests.report.sample import trial


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_columns_and_numbers_come_back_as_they_were():
    row = read(trials_csv([trial(3, 0.1 + 0.2, lr=1e-5, spread=0.5, seed_values=[0.1, 0.2])]))[0]
    assert tuple(row) == COLUMNS
    assert float(row["value"]) == 0.1 + 0.2
    assert float(row["lr"]) == 1e-5
    assert [float(value) for value in row["seed_values"].split()] == [0.1, 0.2]
    assert row["beta2"] == row["error"] == ""


def test_no_trials_is_the_header_alone():
    assert trials_csv([]) == ",".join(COLUMNS) + "\n"


def failed(error):
    """A trial with this very error: a record would escape its carriage returns."""
    return trial(0, state="failed").model_copy(update={"error": error})


@pytest.mark.parametrize("error", ['say "hi", twice', "two\nlines", "two\r\nlines", "日本語 é", "x" * 200])
def test_free_text_survives_quoting(error):
    text = trials_csv([failed(error), trial(1, 0.5)])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows[0]["error"] == "\n".join(error.splitlines())
    assert rows[1]["value"] == "0.5"


@pytest.mark.parametrize("error", ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_a_spreadsheet_runs_no_formula(error):
    text = trials_csv([failed(error)])
    assert next(csv.DictReader(io.StringIO(text, newline="")))["error"] == f"'{error}".replace("\r", "\n")


def test_a_negative_value_is_still_a_number():
    assert read(trials_csv([trial(0, -0.5)]))[0]["value"] == "-0.5"


def test_the_sample_is_whole():
    trials = sample.grid_trials()
    assert [int(row["number"]) for row in read(trials_csv(trials))] == [trial.number for trial in trials]
