"""A database that is unreachable for a while: interrupted writes are repeated and take effect once."""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna
import psycopg
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from epsearch.search import patient_storage
from epsearch.search.patient_storage import PatientStorage
from epsearch.search.storage import open_storage
from tests.conftest import StudyFolder
from tests.search.test_lease import assert_each_cell_once, start, trials, wait_for_finished
from tests.servers import Server

pytestmark = pytest.mark.thorough


class Unreliable:
    """A storage whose connection drops at chosen commits: before them, or after them without an answer."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.storage = open_storage(url)
        backend = self.storage._backend  # type: ignore[attr-defined]
        assert isinstance(backend, PatientStorage)
        self.drops: list[str] = []
        self._commit: Callable[[object], None] = backend.engine.dialect.do_commit
        monkeypatch.setattr(backend.engine.dialect, "do_commit", self._drop)

    def _drop(self, connection: object) -> None:
        when = self.drops.pop() if self.drops else ""
        if when == "before":
            raise psycopg.OperationalError("the connection is lost")
        self._commit(connection)
        if when == "after":
            raise psycopg.OperationalError("the connection is lost")


@pytest.mark.parametrize("drops", [["before"], ["after"], ["after", "after"], ["before", "after"], ["after"] * 7])
def test_each_write_is_done_once(drops: list[str], postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    unreliable = Unreliable(postgresql.database(), monkeypatch)

    def dropping() -> None:
        unreliable.drops = list(drops)

    study = optuna.create_study(storage=unreliable.storage, study_name="x")
    space = {"lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)}
    for value in (1.0, 2.0):
        dropping()
        trial = study.ask()
        dropping()
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        for step in (1, 2):
            dropping()
            trial.report(value / step, step)
        dropping()
        trial.set_user_attr("note", [value])
        dropping()
        study.tell(trial, value)
        stored = study.get_trials()[-1]
        assert (stored.value, stored.params, stored.user_attrs) == (value, {"lr": lr}, {"note": [value]})
        assert stored.intermediate_values == {1: value, 2: value / 2}
    dropping()
    template = optuna.trial.create_trial(state=TrialState.RUNNING, params={"lr": 0.01}, distributions=space)
    unreliable.storage.create_new_trial(study._study_id, template)
    dropping()
    study.set_user_attr("kept", 1)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2 + [TrialState.RUNNING]
    assert study.trials[2].params == {"lr": 0.01}
    assert study.user_attrs == {"kept": 1}
    # A change by another process must not pass for the result of our attempt.
    optuna.load_study(storage=open_storage(str(unreliable.storage._backend.url)), study_name="x").tell(  # type: ignore[attr-defined]
        2, state=TrialState.FAIL
    )
    with pytest.raises(ValueError, match="Cannot tell a FAIL trial"):
        study.tell(2, 1.0)


def test_it_gives_up_in_the_end(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(postgresql.database())
    monkeypatch.setattr(patient_storage, "PATIENCE_SECONDS", 1.0)
    postgresql.server.stop()
    try:
        with pytest.raises(StorageInternalError):
            storage.get_all_studies()
    finally:
        postgresql.server.start("127.0.0.1", postgresql.port)
    assert storage.get_all_studies() == []


def test_a_server_restarts_under_a_study(postgresql: Server, study_folder: StudyFolder) -> None:
    """Twice, and once it is down for some seconds: the study continues, and no trial is lost or doubled."""
    url = postgresql.database()
    module = """
        import time

        def train(run):
            for _ in run.epochs():
                time.sleep(0.2)
                run.report(score=run.lr)
        """
    study_folder.write(module, engine={"storage": url, "workers": 2}, training={"epochs": 5})
    driver = start(study_folder, "run")
    wait_for_finished(url, 1, driver)
    postgresql.restart()
    wait_for_finished(url, 3, driver)
    postgresql.server.stop()
    time.sleep(5)
    postgresql.server.start("127.0.0.1", postgresql.port)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, out + err
    assert_each_cell_once(url)
    assert len(trials(url)) == 12
