"""Messages of exceptions may hold anything; they must not break, steer or flood any output."""

import csv
import json
from io import StringIO

import optuna
import pytest
from rich.console import Console

from epsearch.cli.summary import print_outcome
from epsearch.cli.terminal import Terminal
from epsearch.records.trial import ERROR_LIMIT, Cell, Ending, Trial
from epsearch.report.html.notebook import outcome_html
from epsearch.report.output.csv import trials_csv
from epsearch.report.output.json import to_json
from epsearch.search.results import records
from epsearch.search.storage import open_storage
from epsearch.study.file import load_study
from tests.report import hostile, sample
from tests.report.html.test_page import read

pytestmark = pytest.mark.parametrize("error", hostile.ERRORS, ids=lambda error: ascii(error)[:30])


def steers(text):
    """Whether a terminal that prints `text` would do more than show it."""
    return any((ord(each) < 32 and each not in "\n\t") or 0x7F <= ord(each) < 0xA0 or each == "\u202e" for each in text)


@pytest.fixture
def outcome(tmp_path, error):
    return hostile.outcome(tmp_path, "name", error)


def test_files(outcome, tmp_path):
    path = sample.write(outcome)
    text = path.read_text(encoding="utf-8")
    assert not steers(read(text).text)
    (row,) = [row for row in csv.DictReader(StringIO((tmp_path / "trials.csv").read_text())) if row["error"]]
    assert not steers(row["error"])
    assert len(row["error"]) <= ERROR_LIMIT + 1
    assert not row["error"].startswith("=")
    usual = len(sample.write(hostile.outcome(tmp_path, "name")).read_text())
    assert len(text) < usual + 5000


def test_json_and_notebook(outcome):
    text = json.dumps(to_json(outcome), indent=1)
    assert json.loads(text)["trials"][2]["error"] == outcome.trials[2].error
    outcome_html(outcome).encode()
    outcome.model_dump_json()


def test_the_storage_and_its_dashboard(outcome, error, tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db"))
    asked = study.ask({"lr": optuna.distributions.FloatDistribution(1e-4, 1e-1)})
    asked.set_user_attr("error", error[:100_000])  # as an older version kept it
    study.tell(asked, state=optuna.trial.TrialState.FAIL)
    (trial,) = records(study, "adam", load_study_section(tmp_path))
    assert not steers(trial.error)
    assert len(trial.error) <= ERROR_LIMIT
    sample.publish(study, outcome)


def load_study_section(folder):
    path = folder / "s.yaml"
    path.write_text("workload: {train: 'm:f'}\nmetric: {name: m, goal: maximize}\nsearch: {beta2: 0.9}\nname: s\n")
    return load_study(path).training


def test_the_terminal(outcome, error, tmp_path):
    load_study_section(tmp_path)
    out = StringIO()
    console = Console(file=out, width=200)
    terminal = Terminal(console, load_study(tmp_path / "s.yaml"))
    terminal.trials_planned(2, 0, None)
    terminal.trial_ended("adam", 0, Cell(optimizer="adam", lr=1e-3), Ending(kind="raised", error=error), None)
    print_outcome(console, outcome)
    printed = out.getvalue()
    printed.encode()
    assert not steers(printed)
    assert len(printed) < 3000


def test_a_record_has_it_once(error):
    """Kept again, it is as it was."""
    trial = Trial(number=0, optimizer="adam", state="failed", error=error)
    assert Trial.model_validate(trial.model_dump()).error == trial.error
    assert "error" in trials_csv([trial])
