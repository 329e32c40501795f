"""One driver at a time for a study in a storage, whichever directories and machines they run in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from epsearch.core.errors import StudyError, UserError
from epsearch.search import lease
from epsearch.search.driver import Driver
from epsearch.search.lease import LEASES, Lease
from epsearch.search.queue import is_done
from epsearch.search.storage import open_storage
from tests.conftest import EPSEARCH, StudyFolder

CLAIMANT = """
import sys
from pathlib import Path
from epsearch.search.lease import Lease
from epsearch.search.storage import open_storage
from epsearch.core.errors import UserError

storage = open_storage(sys.argv[1])
leases = []
for line in sys.stdin:
    claim = Lease(storage, line.strip(), Path("/there"), "x")
    try:
        claim.claim(take_over=False)
        print("won", flush=True)
        leases.append(claim)
    except UserError as error:
        print(error, flush=True)
"""


@pytest.mark.thorough
def test_of_drivers_that_start_at_once_one_wins(storage_url: str) -> None:
    # Rounds without a table, with it, and with leases that have lapsed or whose process is gone.
    claimants = [
        subprocess.Popen([sys.executable, "-c", CLAIMANT, storage_url], stdin=-1, stdout=-1, text=True)
        for _ in range(4)
    ]

    def rounds(names: list[str]) -> None:
        for name in names:
            for claimant in claimants:
                assert claimant.stdin is not None
                claimant.stdin.write(f"{name}\n")
                claimant.stdin.flush()
            answers = [claimant.stdout.readline().strip() for claimant in claimants if claimant.stdout is not None]
            assert answers.count("won") == 1, answers
            refusals = [answer for answer in answers if answer != "won"]
            assert all(f'the study "{name}" in x is being run by process' in each for each in refusals), answers

    names = [f"study {number}" for number in range(12)]
    rounds(names)
    engine = sa.create_engine(storage_url)
    with engine.begin() as connection:
        connection.execute(sa.update(LEASES).values(renewed=LEASES.c.renewed - 100))
    rounds(names)
    for claimant in claimants:
        claimant.communicate(timeout=60)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(LEASES)).scalar() == len(names)


def held(url: str, directory: Path, machine: str = "") -> Lease:
    """A lease of this process, or of a process on another machine."""
    claim = Lease(open_storage(url), "test", directory, "the storage")
    if machine:
        claim._driver = claim._driver._replace(machine=machine, host=machine)
    claim.claim(take_over=False)
    return claim


def age(url: str, seconds: int) -> None:
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.update(LEASES).values(renewed=LEASES.c.renewed - seconds))


def test_it_is_refused_released_and_renewed(storage_url: str, tmp_path: Path) -> None:
    first, storage = held(storage_url, tmp_path / "a"), open_storage(storage_url)
    second = Lease(storage, "test", tmp_path / "b", "the storage")
    with pytest.raises(UserError) as refused:
        second.claim(take_over=False)
    for part in (f"process {os.getpid()} on ", f"in {tmp_path}/a, since 20", " UTC", "--take-over"):
        assert part in str(refused.value)
    Lease(storage, "another", tmp_path / "b", "the storage").claim(take_over=False)
    age(storage_url, 59)
    first._renew()
    age(storage_url, 59)
    with pytest.raises(UserError):
        second.claim(take_over=False)
    first.release()
    assert second.claim(take_over=False) is None


def test_a_lease_that_lapsed_is_anyones_and_its_driver_writes_no_more(storage_url: str, tmp_path: Path) -> None:
    first = held(storage_url, tmp_path / "a", machine="elsewhere")
    second = Lease(open_storage(storage_url), "test", tmp_path / "b", "the storage")
    age(storage_url, 30)
    with pytest.raises(UserError, match="on elsewhere"):
        second.claim(take_over=False)
    age(storage_url, 40)
    assert second.claim(take_over=False) is None
    study = optuna.create_study(storage=first._storage)
    first.guard_storage()
    study.ask()
    first._renewed -= lease.FENCE_SECONDS + 1  # as after a long pause
    with pytest.raises(StudyError, match=f"was taken over by process {os.getpid()} on .*, in {tmp_path}/b, since 20"):
        study.ask()
    assert len(study.trials) == 1
    first.release()
    second.check()
    second._renewed -= lease.FENCE_SECONDS + 1
    second.check()


def test_a_driver_that_is_taken_over_while_it_runs_is_waited_for(storage_url: str, tmp_path: Path) -> None:
    held(storage_url, tmp_path / "a", machine="elsewhere")
    second = Lease(open_storage(storage_url), "test", tmp_path / "b", "the storage")
    ousted = second.claim(take_over=True)
    assert ousted is not None
    assert ousted.host == "elsewhere"


def test_only_a_process_known_to_be_gone_is() -> None:
    here = Driver.this(Path("/x"))
    assert not here.is_gone()
    assert not here._replace(machine="elsewhere", pid=2**22 - 1).is_gone()
    assert not here._replace(pid=1, started="").is_gone()
    if here.started:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        assert here._replace(pid=ended.pid).is_gone()
        # Its PID was reused.
        assert here._replace(started="1").is_gone()


# --- driver processes ---

SLOW = """
    import pathlib, time

    def train(run):
        for _ in run.epochs():
            while (pathlib.Path(__file__).parent / "wait").exists() and run.eps == 1e-4:
                time.sleep(0.1)
            run.report(score=run.lr)
    """


def start(folder: StudyFolder, name: str, *arguments: str, background: bool = False) -> subprocess.Popen[str]:
    """A driver; with `background`, one that ignores SIGINT, as a shell's background jobs do."""
    return subprocess.Popen(
        [*EPSEARCH, "run", str(folder.path / "study.yaml"), "--dir", str(folder.path / name), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder.path,
        env={**os.environ, "COLUMNS": "200"},
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if background else None,  # noqa: PLW1509
    )


def trials(url: str) -> list[optuna.trial.FrozenTrial]:
    try:
        return optuna.load_study(study_name="test", storage=open_storage(url)).get_trials()
    except (KeyError, UserError):  # not there yet
        return []


def wait_for_finished(url: str, count: int, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while sum(map(is_done, trials(url))) < count:
        assert time.monotonic() < deadline
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.2)


def assert_each_cell_once(url: str) -> None:
    cells = Counter((t.params["lr"], t.params["eps"]) for t in trials(url) if is_done(t))
    assert len(cells) == 12
    assert set(cells.values()) == {1}
    assert not [t for t in trials(url) if t.state in (TrialState.RUNNING, TrialState.WAITING)]


@pytest.mark.thorough
def test_a_job_array(storage_url: str, study_folder: StudyFolder) -> None:
    """Four drivers that start together: one runs the study, three report which."""
    study_folder.write(SLOW, engine={"storage": storage_url})
    (study_folder.path / "wait").touch()
    drivers = [start(study_folder, f"run-{number}") for number in range(4)]
    deadline = time.monotonic() + 120
    while sum(driver.poll() == 2 for driver in drivers) < 3:
        assert time.monotonic() < deadline, [driver.poll() for driver in drivers]
        time.sleep(0.2)
    (study_folder.path / "wait").unlink()
    ended = [(*driver.communicate(timeout=120), driver.returncode) for driver in drivers]
    assert sorted(code for *_, code in ended) == [0, 2, 2, 2]
    for out, err, code in ended:
        assert "Traceback" not in out + err
        assert code == 0 or "is being run by process" in err
    assert_each_cell_once(storage_url)


@pytest.mark.thorough
def test_a_driver_that_was_killed_is_resumed_at_once(storage_url: str, study_folder: StudyFolder) -> None:
    study_folder.write(SLOW, engine={"storage": storage_url})
    (study_folder.path / "wait").touch()
    first = start(study_folder, "first")
    wait_for_finished(storage_url, 2, first)
    first.kill()
    first.communicate()
    (study_folder.path / "wait").unlink()
    second = start(study_folder, "second")
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, out + err
    assert_each_cell_once(storage_url)


@pytest.mark.thorough
def test_a_study_is_taken_over(storage_url: str, study_folder: StudyFolder) -> None:
    """The first driver stops, even in the middle of an epoch, and no trial is lost or doubled."""
    study_folder.write(SLOW, engine={"storage": storage_url})
    (study_folder.path / "wait").touch()
    first = start(study_folder, "first", background=True)
    wait_for_finished(storage_url, 2, first)
    second = start(study_folder, "second", "--take-over")
    _, err = first.communicate(timeout=120)
    assert first.returncode == 1
    assert f"was taken over by process {second.pid} on" in err
    assert "Traceback" not in err
    (study_folder.path / "wait").unlink()
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, out + err
    assert f"taking over from process {first.pid} on" in out
    assert_each_cell_once(storage_url)
