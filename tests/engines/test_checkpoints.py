"""A trial whose process was killed continues from its checkpoint when the study is resumed."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.conftest import StudyFolder
from tests.engines.test_interruptions import START_SECONDS, trials_of

EPOCHS = 6
MODULE = """
    import os, pathlib, signal, time

    def train(run):
        state = run.restore() or {{"sum": 0.0}}
        for epoch in run.epochs():
            with pathlib.Path(__file__).with_name("epochs").open("a") as file:
                print(f"{{run.eps:g}} {{epoch}}", file=file)
            state["sum"] += (epoch + 1) * run.eps * run.lr
            run.report(score=state["sum"], checkpoint=state)
            {after}
    """
KEEPING = {"epochs": EPOCHS, "checkpoint_every": 0}


def epochs(folder: StudyFolder) -> list[str]:
    file = folder.path / "epochs"
    return file.read_text().splitlines() if file.exists() else []


def values(folder: StudyFolder) -> dict[float, list[float]]:
    """The values of each epoch of the complete trials, by eps."""
    complete = [trial for trial in trials_of(folder) if trial.state == TrialState.COMPLETE]
    return {trial.params["eps"]: list(trial.intermediate_values.values()) for trial in complete}


@pytest.fixture
def expected() -> dict[float, list[float]]:
    return {eps: [eps * 1e-3 * sum(range(1, n + 1)) for n in range(1, EPOCHS + 1)] for eps in (1e-8, 1e-6, 1e-4)}


def check(folder: StudyFolder, expected: dict[float, list[float]]) -> None:
    found = values(folder)
    assert found.keys() == expected.keys()
    for eps, row in expected.items():
        assert found[eps] == pytest.approx(row, rel=1e-12), "every epoch's value, those before the kill included"
    assert list((folder.run_directory / "checkpoints").iterdir()) == [], "finished trials need no checkpoint"


def kill_the_driver(folder: StudyFolder) -> None:
    """Start the study, and kill its driver in the first trial's fourth epoch or soon after."""
    driver = subprocess.Popen(folder.command(), cwd=folder.path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + START_SECONDS
    while len(epochs(folder)) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def test_after_the_driver_was_killed(study_folder: StudyFolder, expected: dict[float, list[float]]) -> None:
    study_folder.write(MODULE.format(after="time.sleep(0.2)"), search={"lr": 1e-3}, training=KEEPING)
    kill_the_driver(study_folder)
    done = study_folder.run()
    assert done.returncode == 0, done.stderr
    check(study_folder, expected)
    trained = [line.split()[1] for line in epochs(study_folder) if line.startswith("1e-06 ")]
    assert len(trained) <= EPOCHS + 1, f"at most the epoch of the kill is trained again: {trained}"
    first, retry = trials_of(study_folder)[0], trials_of(study_folder)[1]
    assert (first.user_attrs["fail_reason"], retry.user_attrs["retry_of"]) == ("lost", 0)


@pytest.mark.thorough
def test_a_worker_that_is_killed_again_and_again(study_folder: StudyFolder, expected: dict[float, list[float]]) -> None:
    """Each attempt trains two more epochs, and the third finishes, all in one run."""
    killing = "if run.eps == 1e-6 and epoch in (1, 3): os.kill(os.getpid(), signal.SIGKILL)"
    study_folder.write(MODULE.format(after=killing), search={"lr": 1e-3}, training=KEEPING)
    done = study_folder.run()
    assert done.returncode == 0, done.stderr
    check(study_folder, expected)
    assert [line for line in epochs(study_folder) if line.startswith("1e-06 ")] == [f"1e-06 {n}" for n in range(EPOCHS)]
    assert len(trials_of(study_folder)) == 3


@pytest.mark.thorough
def test_restarts_are_counted_by_run(study_folder: StudyFolder, expected: dict[float, list[float]]) -> None:
    """A trial that died as often as a run allows is retried by the next one, from the last attempt's file."""
    killing = "if run.eps == 1e-6 and epoch in (1, 3): os.kill(os.getpid(), signal.SIGKILL)"
    study_folder.write(MODULE.format(after=killing), search={"lr": 1e-3}, training=KEEPING, engine={"max_failures": 0})
    for _ in range(3):
        done = study_folder.run()
        assert done.returncode == 0, done.stderr
    check(study_folder, expected)
    assert [line for line in epochs(study_folder) if line.startswith("1e-06 ")] == [f"1e-06 {n}" for n in range(EPOCHS)]
    assert [trial.user_attrs.get("retry_of") for trial in trials_of(study_folder)] == [None, None, None, 0, 3]


@pytest.mark.thorough
def test_code_that_raised_starts_again(study_folder: StudyFolder, expected: dict[float, list[float]]) -> None:
    """The code was fixed since: a model that the old code trained is not resumed."""
    breaking = "if run.eps == 1e-6 and epoch == 2: raise ValueError"
    study_folder.write(MODULE.format(after=breaking), search={"lr": 1e-3}, training=KEEPING)
    assert study_folder.run().returncode == 0
    study_folder.write(MODULE.format(after="pass"), search={"lr": 1e-3}, training=KEEPING)
    assert study_folder.run().returncode == 0
    check(study_folder, expected)
    again = [line for line in epochs(study_folder) if line.startswith("1e-06 ")]
    assert re.sub(r"1e-06 ", "", " ".join(again)) == "0 1 2 0 1 2 3 4 5"


@pytest.mark.thorough
def test_a_checkpoint_that_cannot_be_read(study_folder: StudyFolder, expected: dict[float, list[float]]) -> None:
    """Power failed while it was written: its trial trains again, and the study is complete."""
    study_folder.write(MODULE.format(after="time.sleep(0.2)"), search={"lr": 1e-3}, training=KEEPING)
    kill_the_driver(study_folder)
    time.sleep(1)  # the worker ends within a second of its driver
    (checkpoint,) = (study_folder.run_directory / "checkpoints").glob("*.pt")
    checkpoint.write_bytes(b"")
    done = study_folder.run()
    assert done.returncode == 0, done.stderr
    check(study_folder, expected)
    log = (study_folder.run_directory / "logs" / "worker-0.log").read_text()
    assert f"deleted the checkpoint {checkpoint}" in log


@pytest.mark.thorough
def test_our_own_loop(tmp_path: Path, study_folder: StudyFolder) -> None:
    """A built-in workload needs no code for it: the killed study has the values of an undisturbed one."""
    sections = {
        "workload": {"name": "vision", "dataset": "digits", "model": "mlp", "train": None},
        "training": {"epochs": 12, "checkpoint_every": 0, "precision": "float64"},
        "metric": {"name": "loss", "goal": "minimize"},
        "search": {"lr": 1e-3, "eps": [1e-8, 1e-3]},
    }
    study_folder.write("", **sections)
    alone = study_folder.run("--dir", str(tmp_path / "alone"))
    assert alone.returncode == 0, alone.stderr
    driver = subprocess.Popen(study_folder.command(), cwd=study_folder.path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + START_SECONDS
    while not trials_of(study_folder) or len(trials_of(study_folder)[0].intermediate_values) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    assert study_folder.run().returncode == 0
    killed = values(study_folder)
    study_folder.run_directory = tmp_path / "alone"
    assert killed == values(study_folder)
