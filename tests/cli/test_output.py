"""Standard output that is closed, full, gone or not UTF-8."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import EPSEARCH, StudyFolder

QUICK = """
    def train(run):
        for epoch in run.epochs():
            run.report(score=run.lr)
"""

SLOW = """
    import pathlib, time

    def train(run):
        for epoch in run.epochs():
            while not pathlib.Path("go").exists():
                time.sleep(0.05)
            run.report(score=run.lr)
"""

PROGRAM = " ".join(EPSEARCH)


def shell(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of bash, whose exit code is that of the first program that fails in a pipe."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        errors="surrogateescape",
    )


def finished(folder: StudyFolder) -> int:
    """Complete trials, as the report has them."""
    printed = shell(folder.path, f"{PROGRAM} report run --json")
    assert printed.returncode == 0, printed.stderr
    (outcome,) = json.loads(printed.stdout)
    return sum(trial["state"] == "complete" for trial in outcome["trials"])


FULL = "epsearch: standard output cannot be written (No space left on device)"


@pytest.mark.parametrize("command", ["check study.yaml", "list", "schema", "--version", "init other.yaml"])
def test_a_full_output(command: str, study_folder: StudyFolder) -> None:
    study_folder.write(QUICK)
    done = shell(study_folder.path, f"{PROGRAM} {command} > /dev/full")
    assert (done.returncode, done.stderr) == (1, f"{FULL}.\n")


@pytest.mark.parametrize("command", ["check study.yaml", "list", "schema"])
def test_a_closed_output(command: str, study_folder: StudyFolder) -> None:
    """Nobody wants to read it; nothing else is written where it was."""
    study_folder.write(QUICK)
    done = shell(study_folder.path, f"{PROGRAM} {command} >&-")
    assert (done.returncode, done.stderr) == (0, "")
    done = shell(study_folder.path, f"{PROGRAM} check nowhere.yaml <&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_reader_that_has_enough(study_folder: StudyFolder) -> None:
    study_folder.write(QUICK)
    done = shell(study_folder.path, f"{PROGRAM} list | head -1")
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("redirection", "complaint"),
    [
        ("> /dev/full", f"{FULL}; the study continues without it.\n"),
        ("> /dev/full 2>&1", ""),
        ("<&- >&- 2>&-", ""),
        ("2>&1 | true", ""),
    ],
)
def test_a_study_does_not_need_its_output(redirection: str, complaint: str, study_folder: StudyFolder) -> None:
    study_folder.write(QUICK)
    done = shell(study_folder.path, f"{PROGRAM} run study.yaml --dir run {redirection}")
    assert done.returncode == 0
    assert done.stderr == complaint
    assert finished(study_folder) == 12


@pytest.mark.thorough
def test_a_terminal_that_goes_away(study_folder: StudyFolder) -> None:
    """The kernel then sends SIGHUP to all of its processes, and fails what they write there."""
    study_folder.write(SLOW, engine={"workers": 2})
    master, terminal = os.openpty()
    driver = subprocess.Popen(
        study_folder.command(),
        cwd=study_folder.path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    while b"trial " not in shown:
        shown += os.read(master, 4096)
    os.killpg(driver.pid, signal.SIGHUP)
    os.close(master)
    time.sleep(0.2)
    (study_folder.path / "go").touch()
    assert driver.wait(timeout=120) == 0
    assert finished(study_folder) == 12


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.thorough
@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, ASCII])
def test_an_output_that_is_not_utf_8(environment: dict[str, str], study_folder: StudyFolder) -> None:
    """The letters of the field in words, and others by their numbers."""
    study_folder.write(QUICK, name="x")
    done = shell(study_folder.path, f"{PROGRAM} run study.yaml --dir run", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the best lr is at an edge of those tried" in done.stdout
    study_folder.write(QUICK, name="a/😀")
    wrong = shell(study_folder.path, f"{PROGRAM} check study.yaml", **environment)
    assert wrong.returncode == 2
    assert "cannot be the name of a run directory" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    study_folder.write(QUICK, name="x 😀")
    named = shell(study_folder.path, f"{PROGRAM} check study.yaml", **environment)
    if environment is ASCII:
        assert named.returncode == 2
        assert "has letters that file names in this locale (ascii) cannot have; set PYTHONUTF8=1" in named.stderr
    else:
        assert (named.returncode, named.stderr) == (0, "")
        assert "name: x \\U0001f600\n" in named.stdout


def test_a_path_that_is_not_text(study_folder: StudyFolder) -> None:
    """A byte of a file name that no encoding has."""
    done = shell(study_folder.path, f"{PROGRAM} check $'nowhere-\\xff.yaml'; {PROGRAM} init $'new-\\xff.yaml'")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "nowhere-\\udcff.yaml: no such file." in done.stderr
    assert sys.getfilesystemencoding() != "utf-8" or "Wrote new-\\udcff.yaml." in done.stdout
