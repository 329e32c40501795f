"""Failed trials end in the right state and affect nothing else."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from optuna.trial import TrialState

from epsearch.records.trial import ERROR_LIMIT
from tests.conftest import EPSEARCH, StudyFolder
from tests.engines.test_interruptions import trials_of

pytestmark = pytest.mark.thorough

ONE_LR = {"lr": 1e-3}


def rows(folder: StudyFolder) -> list[dict[str, str]]:
    with (folder.run_directory / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_one_trial_raises(study_folder: StudyFolder) -> None:
    """In the middle of the grid: the study continues, and the next run retries that cell alone."""
    module = """
        def train(run):
            for epoch in run.epochs():
                if run.eps == 1e-8 and {broken}:
                    raise ValueError("the dog ate it")
                run.report(score=run.eps)
        """
    study_folder.write(module.format(broken=True), search=ONE_LR)
    first = study_folder.run()
    assert first.returncode == 0, first.stderr
    assert "ValueError: the dog ate it" in first.stdout
    assert "Traceback" not in first.stdout + first.stderr
    assert "ValueError: the dog ate it" in (study_folder.run_directory / "logs" / "worker-0.log").read_text()
    by_eps = {row["eps"]: row for row in rows(study_folder)}
    assert by_eps["1e-08"]["state"] == "failed"
    assert by_eps["1e-08"]["fail_reason"] == "raised"
    assert {by_eps["1e-06"]["state"], by_eps["0.0001"]["state"]} == {"complete"}

    study_folder.write(module.format(broken=False), search=ONE_LR)
    second = study_folder.run()
    assert second.returncode == 0, second.stderr
    assert "2 finished in earlier runs" in second.stdout
    trials = trials_of(study_folder)
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert trials[3].user_attrs["retry_of"] == 1
    assert trials[3].params == trials[1].params


def test_an_exception_may_have_any_text(study_folder: StudyFolder) -> None:
    """It is bounded and readable on the terminal, in the tables and as JSON; the study ends as usual."""
    study_folder.write(
        """
        TEXTS = {1e-6: "\\x1b[31m \\udcff \\0", 1e-8: "megabytes " * 300_000}

        def train(run):
            for epoch in run.epochs():
                if run.eps in TEXTS:
                    raise ValueError(TEXTS[run.eps])
                run.report(score=1.7e308 * (1 - 2 * run.seed))
        """,
        search=ONE_LR,
        training={"seeds": [0, 1]},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "\x1b[31m" not in result.stdout
    assert len(result.stdout) < 5000
    by_eps = {row["eps"]: row for row in rows(study_folder)}
    assert by_eps["1e-06"]["error"] == r"ValueError: \x1b[31m \udcff \x00"
    assert len(by_eps["1e-08"]["error"]) == ERROR_LIMIT
    assert (by_eps["0.0001"]["value"], by_eps["0.0001"]["state"]) == ("0.0", "complete")
    found = subprocess.run(
        [*EPSEARCH, "report", str(study_folder.run_directory), "--json"], capture_output=True, check=True
    )
    (run,) = json.loads(found.stdout)
    assert len(run["trials"]) == 3
    assert run["best"]["seed_values"] == [1.7e308, -1.7e308]


def test_every_trial_raises(study_folder: StudyFolder) -> None:
    """The study stops after three failures and reports the cause; the next run, with fixed code, trains every cell."""
    study_folder.write("def train(run):\n    raise KeyError('weights')\n")
    result = study_folder.run()
    assert result.returncode == 1
    assert "the first 3 trials all failed, the last with: KeyError: 'weights'" in result.stderr
    assert "Traceback" not in result.stderr
    study_folder.write("def train(run):\n    for _ in run.epochs():\n        run.report(score=1)\n")
    fixed = study_folder.run()
    assert fixed.returncode == 0, fixed.stderr
    complete = [t for t in trials_of(study_folder) if t.state == TrialState.COMPLETE]
    assert len(complete) == 12
    assert len({(t.params["lr"], t.params["eps"]) for t in complete}) == 12


def test_values_that_are_not_finite(study_folder: StudyFolder) -> None:
    """NaN in epoch 2 keeps epoch 1's value; NaN from the start fails the trial as diverged, without a retry."""
    study_folder.write(
        """
        import math

        def train(run):
            for epoch in run.epochs():
                worse = {1e-8: math.nan if epoch == 1 else 0.5, 1e-6: math.inf, 1e-4: 0.25}[run.eps]
                run.report(score=worse)
                assert math.isfinite(worse) or run.ended
        """,
        search=ONE_LR,
        training={"epochs": 3},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    infinite, nan_later, finite = trials_of(study_folder)
    assert nan_later.state == TrialState.COMPLETE
    assert nan_later.value == 0.5
    assert len(nan_later.intermediate_values) == 1
    assert infinite.state == TrialState.FAIL
    assert infinite.user_attrs["fail_reason"] == "diverged"
    assert finite.value == 0.25
    assert "nothing to do" in study_folder.run().stdout


def test_loss_becomes_nan_in_our_loop(study_folder: StudyFolder) -> None:
    """An absurd learning rate on the digits diverges; the other cell is complete."""
    study = study_folder.write(
        "",
        workload={"train": None, "name": "vision", "dataset": "digits", "model": "mlp"},
        metric={"name": "accuracy"},
        training={"epochs": 3},
        search={"lr": [1e-3, 1e30], "eps": [1e-8], "beta2": 0.999},
    )
    result = subprocess.run(
        [*EPSEARCH, "run", str(study), "--dir", str(study_folder.run_directory)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    sane, absurd = trials_of(study_folder)
    assert sane.state == TrialState.COMPLETE
    assert sane.value > 0.5
    assert absurd.state == TrialState.FAIL
    assert absurd.user_attrs["fail_reason"] == "diverged"


@pytest.mark.parametrize("error", ["EOFError", "ConnectionResetError", "SystemExit", "KeyboardInterrupt"])
def test_errors_of_the_code_that_look_like_those_of_a_worker(study_folder: StudyFolder, error: str) -> None:
    """While probing, and in a trial: a message, and the traceback in the log."""
    study_folder.write(
        f"""
        def train(run):
            if run.probing or run.eps == 1e-6:
                raise {error}("cut off")
            for epoch in run.epochs():
                run.report(score=run.eps)
        """,
        search={"lr": 1e-3, "eps": "grid"},
    )
    log = study_folder.run_directory / "logs" / "worker-0.log"
    probed = study_folder.run()
    assert probed.returncode == 1
    assert f"{error}: cut off" in probed.stderr
    assert "Traceback" not in probed.stderr
    assert "Traceback (most recent call last)" in log.read_text()
    log.unlink()
    searched = study_folder.run("--dir", str(study_folder.run_directory), "--set", "search.eps=[1e-8, 1e-6, 1e-4]")
    assert searched.returncode == 0, searched.stderr
    failed = {row["eps"]: row for row in rows(study_folder) if row["state"] == "failed"}
    assert {eps: row["fail_reason"] for eps, row in failed.items()} == {"1e-06": "raised"}
    assert f"{error}: cut off" in log.read_text()
    assert "--- trial 0: adam, lr 1e-3, eps 1e-6" in log.read_text()


def test_several_seeds(study_folder: StudyFolder) -> None:
    """A trial's value is the mean of its seeds' bests; one seed without any value fails the trial."""
    study_folder.write(
        """
        import math

        def train(run):
            for epoch in run.epochs():
                if run.eps == 1e-4 and run.seed == 3:
                    run.report(score=math.nan)
                run.report(score=run.seed - epoch)
        """,
        search=ONE_LR,
        training={"seeds": [1, 3, 5]},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    first, _, bad = trials_of(study_folder)
    assert first.value == 3
    assert first.user_attrs["seed_values"] == [1, 3, 5]
    assert rows(study_folder)[0]["spread"] == "2.0"
    assert bad.state == TrialState.FAIL
    assert bad.user_attrs["fail_reason"] == "diverged"


def test_a_trial_is_killed(study_folder: StudyFolder) -> None:
    """As the kernel does when memory runs out: that trial is run three times, and a new worker takes over."""
    study_folder.write(
        """
        import os, pathlib, signal

        def train(run):
            for epoch in run.epochs():
                if run.eps == 1e-6:
                    with pathlib.Path(__file__).with_name("tries").open("a") as file:
                        print(os.getpid(), file=file)
                    os.kill(os.getpid(), signal.SIGKILL)
                run.report(score=run.eps)
        """,
        search=ONE_LR,
        engine={"workers": 2},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    killed = "a worker process was killed by SIGKILL (out of memory? use fewer engine.workers); its log is"
    assert f"trial 0 of adam restarts (1 of 2): {killed}" in result.stdout
    assert f"trial 0 of adam restarts (2 of 2): {killed}" in result.stdout
    assert f"died: {killed}" in result.stdout
    assert len(set((study_folder.path / "tries").read_text().split())) == 3
    states = {t.params["eps"]: t for t in trials_of(study_folder)}
    assert len(trials_of(study_folder)) == 3, "a restart is the same trial"
    assert states[1e-6].user_attrs["fail_reason"] == "died"
    assert {states[1e-8].state, states[1e-4].state} == {TrialState.COMPLETE}


def test_together_gives_the_values_of_one_at_a_time(study_folder: StudyFolder) -> None:
    values = []
    for together in (1, 3):
        study_folder.run_directory = study_folder.path / f"together-{together}"
        study_folder.write(
            "",
            workload={"train": None, "name": "vision", "dataset": "digits", "model": "mlp"},
            metric={"name": "accuracy"},
            engine={"together": together},
            search=ONE_LR,
        )
        result = study_folder.run()
        assert result.returncode == 0, result.stderr
        values.append([t.intermediate_values for t in trials_of(study_folder)])
    assert values[0] == values[1]
    assert len(values[0]) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of one megabyte."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


QUICK = "def train(run):\n    for _ in run.epochs():\n        run.report(score=1)\n"


def test_full_disk_while_reporting(study_folder: StudyFolder, small_disk: Path) -> None:
    """The page does not fit: one message; every trial is kept, and the report can be written elsewhere."""
    study_folder.write(QUICK)
    study_folder.run_directory = small_disk / "run"
    result = study_folder.run()
    assert result.returncode == 1
    assert "report could not be written" in result.stderr
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    assert all(t.state == TrialState.COMPLETE for t in trials_of(study_folder))
    assert len(trials_of(study_folder)) == 12
    assert not list(study_folder.run_directory.glob(".*.tmp"))
    elsewhere = study_folder.path / "elsewhere"
    shutil.copytree(study_folder.run_directory, elsewhere)
    redrawn = subprocess.run([*EPSEARCH, "report", str(elsewhere)], capture_output=True, text=True)
    assert redrawn.returncode == 0, redrawn.stderr
    assert (elsewhere / "report.html").exists()


def test_full_disk_while_searching(study_folder: StudyFolder, small_disk: Path) -> None:
    """SQLite cannot write: the study stops with a message, and resumes when there is room."""
    study_folder.write(
        """
        import pathlib, time

        def train(run):
            ballast, tries = (pathlib.Path(__file__).with_name(name) for name in ("ballast", "tries"))
            for epoch in run.epochs():
                if tries.exists() and len(tries.read_text()) == 6 and ballast.exists():
                    time.sleep(1)  # the trial before this one is written meanwhile
                    # Fill the disk that the study is on.
                    with open(ballast.read_text(), "ab") as file:
                        try:
                            while True:
                                file.write(b"x" * 512)
                                file.flush()
                        except OSError:
                            pass
                run.report(score=run.lr)
            with tries.open("a") as file:
                file.write(".")
        """
    )
    study_folder.run_directory = small_disk / "run"
    filler = small_disk / "filler"
    (study_folder.path / "ballast").write_text(str(filler))
    result = study_folder.run()
    assert result.returncode == 1
    assert "What was written before is kept" in result.stderr
    assert "disk" in result.stderr
    assert "Traceback" not in result.stderr
    kept = sum(t.state == TrialState.COMPLETE for t in trials_of(study_folder))
    assert kept >= 6
    filler.unlink()
    (study_folder.path / "ballast").unlink()
    again = study_folder.run()
    # The page itself needs more than this disk has; the trials do not.
    assert f"{kept} finished in earlier runs" in again.stdout
    complete = [t for t in trials_of(study_folder) if t.state == TrialState.COMPLETE]
    assert len(complete) == 12
