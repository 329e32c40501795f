"""A study in a real PostgreSQL server, started here on loopback, with a password that must not be shown."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import EPSEARCH, StudyFolder
from tests.postgresql import PostgreSQL
from tests.search.test_study import Opened

pytestmark = pytest.mark.thorough

PASSWORD = "s3cret/p@ss:word"
QUOTED = "s3cret%2Fp%40ss%3Aword"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a server whose database `studies` belongs to `tuner`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="epsearch-postgresql-", dir="/tmp") as folder:
        server = PostgreSQL(Path(folder), "tuner", PASSWORD)
        server.start("127.0.0.1", port)
        try:
            server.create_database("studies", "127.0.0.1", port)
            yield port
        finally:
            server.stop()


QUICK = "def train(run):\n    for _ in run.epochs():\n        run.report(score=run.lr)\n"


def everything_written(folder: StudyFolder) -> str:
    files = (path for path in folder.run_directory.rglob("*") if path.is_file() and path.suffix != ".js")
    return "".join(path.read_text(errors="replace") for path in files)


def test_a_study_resumes_in_postgresql_and_hides_the_password(server: int, study_folder: StudyFolder) -> None:
    url = f"postgresql+psycopg://tuner:{QUOTED}@127.0.0.1:{server}/studies"
    study_folder.write(QUICK, engine={"storage": url, "workers": 2})
    first = study_folder.run("--set", "search.lr=[1e-4,1e-3]")
    assert first.returncode == 0, first.stderr
    second = study_folder.run()
    assert second.returncode == 0, second.stderr
    assert "of which 6 finished in earlier runs" in second.stdout
    seen = first.stdout + first.stderr + second.stdout + second.stderr + everything_written(study_folder)
    assert not (study_folder.run_directory / "study.db").exists()
    for secret in (PASSWORD, QUOTED):
        assert secret not in seen

    # The run directory lacks the password; the environment has it.
    unknown = subprocess.run([*EPSEARCH, "report", str(study_folder.run_directory)], capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "EPSEARCH_STORAGE" in unknown.stderr
    known = subprocess.run(
        [*EPSEARCH, "report", str(study_folder.run_directory)],
        capture_output=True,
        text=True,
        env={**os.environ, "EPSEARCH_STORAGE": url},
    )
    assert known.returncode == 0, known.stderr
    assert "Traceback" not in known.stderr


def test_any_value_and_any_error_are_kept(server: int, study_folder: StudyFolder) -> None:
    """The largest float, the smallest, and a text that PostgreSQL's text type cannot hold."""
    url = f"postgresql+psycopg://tuner:{QUOTED}@127.0.0.1:{server}/studies"
    opened = Opened(study_folder, seeds=2, name="extremes", storage=url)
    trial = opened.train([sys.float_info.max, 5e-324], [-sys.float_info.max], kind="raised", error="\udcff \0 \x1b")
    assert trial.curves == [[sys.float_info.max, 5e-324], [-sys.float_info.max]]
    assert trial.seed_values == [sys.float_info.max, -sys.float_info.max]
    assert trial.error == "\\udcff \\x00 \\x1b"
    assert opened.train([sys.float_info.max], [sys.float_info.max]).value == sys.float_info.max
    assert opened.train([5e-324], [5e-324]).value == 5e-324


def test_wrong_password_is_not_shown(server: int, study_folder: StudyFolder) -> None:
    url = f"postgresql+psycopg://tuner:guess%2Fwork@127.0.0.1:{server}/studies"
    study_folder.write(QUICK, engine={"storage": url})
    result = study_folder.run()
    assert result.returncode == 2
    assert "password authentication failed" in result.stderr
    assert "guess" not in result.stdout + result.stderr + everything_written(study_folder)


def test_another_study_under_the_same_name(server: int, study_folder: StudyFolder) -> None:
    """Two run directories, one server: a different study of the same name is refused, not mixed in."""
    url = f"postgresql+psycopg://tuner:{QUOTED}@127.0.0.1:{server}/studies"
    study_folder.write(QUICK, name="shared", engine={"storage": url})
    assert study_folder.run().returncode == 0
    study_folder.run_directory = study_folder.path / "other"
    study_folder.write(QUICK, name="shared", engine={"storage": url}, training={"epochs": 3})
    result = study_folder.run()
    assert result.returncode == 2
    assert "training.epochs: was 2, is 3" in result.stderr
