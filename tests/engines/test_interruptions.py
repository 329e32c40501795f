"""Whatever ends a study, no finished trial is lost, no cell is trained twice, and the same command resumes it."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from epsearch.search.queue import is_done
from epsearch.search.storage import open_storage
from tests.conftest import StudyFolder

pytestmark = pytest.mark.thorough

START_SECONDS = 300
"""Time for a driver and its workers to start and train some epochs, on a machine that runs much else."""

SLOW = """
    import time

    def train(run):
        for epoch in run.epochs():
            time.sleep(0.05)
            run.report(score=run.lr * 10 - abs(run.eps - 1e-6) + epoch)
"""


def trials_of(folder: StudyFolder) -> list[optuna.trial.FrozenTrial]:
    if folder.storage.startswith("sqlite") and not (folder.run_directory / "study.db").exists():
        return []
    try:
        storage = open_storage(folder.storage)
        return optuna.load_study(study_name="test", storage=storage).get_trials()
    except KeyError:
        return []


def finished_cells(folder: StudyFolder) -> Counter[tuple[float, float]]:
    return Counter((t.params["lr"], t.params["eps"]) for t in trials_of(folder) if is_done(t))


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_sigkill_at_random_moments(study_folder: StudyFolder, sampler: str) -> None:
    """The driver is killed six times; in the end every cell has finished exactly once."""
    engine = {"workers": 2} if sampler == "grid" else {"workers": 2, "sampler": "tpe", "trials": 12}
    study_folder.write(SLOW, engine=engine)
    moments = random.Random(7)
    before: Counter[tuple[float, float]] = Counter()
    kills = 0
    for _ in range(6):
        driver = subprocess.Popen(study_folder.command(), cwd=study_folder.path, stdout=subprocess.DEVNULL)
        # From the import of its modules to the middle of the trials (the workers need some seconds for torch).
        time.sleep(moments.uniform(0.5, 6.0))
        driver.kill()
        kills += driver.wait() == -signal.SIGKILL
        cells = finished_cells(study_folder)
        assert before <= cells, "a finished trial was lost"
        before = cells
    assert kills >= 2, "the study ended before it could be killed"

    finished = study_folder.run()
    assert finished.returncode == 0, finished.stderr
    trials = trials_of(study_folder)
    assert len(finished_cells(study_folder)) == 12
    assert set(finished_cells(study_folder).values()) == {1}
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    lost = [t for t in trials if t.state == TrialState.FAIL]
    assert all(t.user_attrs["fail_reason"] == "lost" for t in lost)
    # Each lost cell that had been drawn was retried.
    retried = Counter(t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs)
    assert set(retried.values()) <= {1}
    assert set(retried) == {t.number for t in lost if len(t.params) == 3 or sampler == "grid"}

    again = study_folder.run()
    assert again.returncode == 0
    assert "nothing to do: all 12 trials" in again.stdout
    assert trials_of(study_folder) == trials


def wait_for_finished(folder: StudyFolder, count: int, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while sum(finished_cells(folder).values()) < count:
        assert time.monotonic() < deadline, "the study makes no progress"
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.1)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_prints_how_to_resume(study_folder: StudyFolder, signal_number: int) -> None:
    study_folder.write(SLOW)
    driver = subprocess.Popen(
        study_folder.command("--set", "training.epochs=3"),
        cwd=study_folder.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_finished(study_folder, 2, driver)
    driver.send_signal(signal_number)
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert "Resume with: " in errors
    assert "--set training.epochs=3" in errors
    assert "Traceback" not in errors
    states = Counter(t.state for t in trials_of(study_folder))
    assert states[TrialState.COMPLETE] >= 2
    assert states[TrialState.RUNNING] == 0


def test_workers_end_with_their_driver(study_folder: StudyFolder) -> None:
    """A worker that trains for a killed driver stops soon, even in the middle of an epoch."""
    study_folder.write(
        """
        import os, pathlib, time

        def train(run):
            pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
            for _ in run.epochs():
                time.sleep(600)
                run.report(score=1.0)
        """
    )
    driver = subprocess.Popen(study_folder.command(), cwd=study_folder.path, stdout=subprocess.DEVNULL)
    pid_file = study_folder.path / "pid"
    deadline = time.monotonic() + START_SECONDS
    while not pid_file.exists():
        assert time.monotonic() < deadline, driver.poll()
        time.sleep(0.1)
    time.sleep(0.2)
    worker = Path("/proc") / pid_file.read_text()
    assert worker.exists()
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 60  # far less than its epoch
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.exists()


def test_one_driver_at_a_time(study_folder: StudyFolder) -> None:
    study_folder.write(SLOW)
    driver = subprocess.Popen(
        study_folder.command(), cwd=study_folder.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_finished(study_folder, 1, driver)
    second = study_folder.run()
    assert second.returncode == 2
    assert "another epsearch process is running this study" in second.stderr
    driver.communicate(timeout=START_SECONDS)
    assert driver.returncode == 0


def test_interrupt_while_a_trial_waits_for_its_restart(study_folder: StudyFolder) -> None:
    """The trial is not left running in the storage; the next run finishes it from its checkpoint."""
    study_folder.write(
        """
        import os, signal

        def train(run):
            state = run.restore() or {"sum": 0}
            for epoch in run.epochs():
                state["sum"] += epoch + 1
                run.report(score=state["sum"], checkpoint=state)
                if epoch == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
        """,
        search={"lr": 1e-3, "eps": 1e-8},
        training={"epochs": 3, "checkpoint_every": 0},
    )
    driver = subprocess.Popen(
        study_folder.command(), cwd=study_folder.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    # The new process takes seconds to load torch.
    assert any("restarts (1 of 2)" in line for line in driver.stdout)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=120)
    assert driver.returncode == 130
    (lost,) = trials_of(study_folder)
    assert (lost.state, lost.user_attrs["fail_reason"]) == (TrialState.FAIL, "lost")
    again = study_folder.run()
    assert again.returncode == 0, again.stderr
    assert trials_of(study_folder)[1].intermediate_values == {1: 1, 2: 3, 3: 6}
