"""Changes to a running study through Optuna's dashboard and API."""

from __future__ import annotations

import csv
import subprocess
import time

import optuna
import pytest
from optuna.trial import TrialState

from epsearch.search.storage import open_storage
from tests.conftest import INLINE, StudyFolder
from tests.search.test_lease import assert_each_cell_once, start, trials, wait_for_finished

pytestmark = pytest.mark.thorough

# The third trial of the searched optimizer waits after its first epoch until it is released.
MODULE = """
    import contextlib, pathlib, time

    begun = []

    def train(run):
        with contextlib.suppress(ValueError):  # a baseline has no eps
            begun.append(run.eps)
        for epoch in run.epochs():
            while epoch == 1 and len(begun) == 3 and (pathlib.Path(__file__).parent / "wait").exists():
                time.sleep(0.1)
            run.report(score=run.lr)
    """


def begin(folder: StudyFolder, **sections: object) -> tuple[str, subprocess.Popen[str]]:
    """A study of which two trials have finished and the third waits."""
    url = f"sqlite:///{folder.run_directory}/study.db"
    folder.write(MODULE, **sections)
    (folder.path / "wait").touch()
    return url, start(folder, "run")


def release(folder: StudyFolder) -> None:
    (folder.path / "wait").unlink()


@pytest.mark.parametrize("pruner", ["none", "median"])
@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.COMPLETE])
def test_a_trial_is_ended_from_outside(state: TrialState, pruner: str, study_folder: StudyFolder) -> None:
    """Its result is dropped and the others run; the next run retries what was marked FAIL."""
    url, driver = begin(study_folder, engine={**INLINE, "pruner": pruner})
    wait_for_finished(url, 2, driver)
    study = optuna.load_study(study_name="test", storage=open_storage(url))
    study.tell(2, state=state, values=123.0 if state == TrialState.COMPLETE else None)
    release(study_folder)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, out + err
    assert "Traceback" not in out + err
    (line,) = [line for line in out.splitlines() if "from outside" in line]
    assert f"lost: it was marked {state.name} from outside (Optuna's dashboard or API)" in line
    after = trials(url)
    assert len(after) == 12
    assert [t.number for t in after if t.state == TrialState.FAIL] == ([2] if state == TrialState.FAIL else [])
    again = study_folder.run()
    assert again.returncode == 0, again.stderr
    assert_each_cell_once(url)
    assert len(trials(url)) == (13 if state == TrialState.FAIL else 12)
    if state == TrialState.COMPLETE:
        assert trials(url)[2].value == 123.0


def test_the_study_is_deleted(study_folder: StudyFolder) -> None:
    """The baseline continues and is reported; the same command starts the deleted study again."""
    url, driver = begin(study_folder, search={"baselines": ["sgd_momentum"]}, engine=INLINE)
    wait_for_finished(url, 1, driver)
    # The second trial is the baseline's; the third is running.
    while len(trials(url)) < 2:
        time.sleep(0.1)
    optuna.delete_study(study_name="test", storage=open_storage(url))
    release(study_folder)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 1, out + err
    assert "Traceback" not in out + err
    assert '"test" was deleted from sqlite:///' in err
    assert "its study was deleted" in out
    with (study_folder.run_directory / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["optimizer"] for row in rows} == {"sgd_momentum"}
    assert {row["state"] for row in rows} == {"complete"}
    assert study_folder.run().returncode == 0
    assert_each_cell_once(url)


def test_all_is_deleted(study_folder: StudyFolder) -> None:
    url, driver = begin(study_folder, engine=INLINE)
    wait_for_finished(url, 2, driver)
    optuna.delete_study(study_name="test", storage=open_storage(url))
    release(study_folder)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 1, out + err
    assert "Traceback" not in out + err
    assert '"test" was deleted' in err


def test_a_new_study_does_not_resume_the_checkpoints_of_a_deleted_one(study_folder: StudyFolder) -> None:
    """A checkpoint with the number of a later trial belongs to the deleted study."""
    module = """
        import os, pathlib, signal

        def train(run):
            start = run.restore() or {"epoch": 0}
            for epoch in run.epochs():
                run.report(score=start["epoch"] + 1, checkpoint={"epoch": 100})
                if (pathlib.Path(__file__).parent / "deadly").exists() and run.lr == 1e-4 and run.eps == 1e-8:
                    os.kill(os.getpid(), signal.SIGKILL)
        """
    study_folder.write(module, training={"checkpoint_every": 0}, engine={"max_failures": 0})
    (study_folder.path / "deadly").touch()
    assert study_folder.run().returncode == 0
    url = f"sqlite:///{study_folder.run_directory}/study.db"
    (died,) = [trial.number for trial in trials(url) if trial.state == TrialState.FAIL]
    assert (study_folder.run_directory / "checkpoints" / f"adam-{died}.pt").exists()
    (study_folder.path / "deadly").unlink()
    (study_folder.run_directory / "study.db").unlink()
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert {trial.value for trial in trials(url)} == {1.0}
