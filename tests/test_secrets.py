"""The storage's password never appears in a file, message, log or page, whatever form the URL has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.conftest import EPSEARCH, StudyFolder
from tests.servers import PASSWORD, QUOTED, Server, postgresql

pytestmark = pytest.mark.thorough

__all__ = ["postgresql"]

# Prints everything that user code can see to the worker's log.
MODULE = """
    import os, sys, multiprocessing, gc

    def train(run):
        print(dict(os.environ), sys.argv, open("/proc/self/environ", "rb").read())
        from epsearch.study.config import StudyConfig
        for config in gc.get_objects():
            if isinstance(config, StudyConfig):
                print(config.model_dump(), config._source)
        for _ in run.epochs():
            if run.eps == 1e-6:
                raise ValueError("mine")
            run.report(score=run.lr)
    """

FORMS = [
    "postgresql+psycopg://tuner:{secret}@127.0.0.1:{port}/{database}",
    "postgresql+psycopg://127.0.0.1:{port}/{database}?user=tuner&password={secret}",
    "postgresql+psycopg://tuner@site:{secret}@127.0.0.1:{port}/{database}",
]

WRONG = [
    *(form.replace("{secret}", "wr0ng%2Fs3cret") for form in FORMS),
    "postgresql+psycopg://127.0.0.1:{port}/d?user=tuner&passwd=wr0ng%2Fs3cret",
    "postgresql+psycopg://tuner@127.0.0.1:{port}/d?sslpassword=wr0ng%2Fs3cret",
    "postgresql+psycopg://tuner@127.0.0.1:{port}/d?pasword=wr0ng%2Fs3cret",
    "postgresql+psycopg://tuner:wr0ng/s3cret@127.0.0.1:{port}/d",
    "postgresql+psycopg://tuner:x@wr0ng/s3cret@127.0.0.1:{port}/d",
    "postgresql+psycopg//tuner:wr0ng%2Fs3cret@127.0.0.1:{port}/d",
    "postgresql+psycopg:/tuner:wr0ng%2Fs3cret@127.0.0.1:{port}/d",
    "nothing://tuner:wr0ng%2Fs3cret@127.0.0.1:{port}/d",
    "sqlite:///nowhere/at/all?password=wr0ng%2Fs3cret",
]


def written(folder: Path) -> str:
    """The names and contents of all files below a folder, including the study's database."""
    return "".join(f"{path} {path.read_text(errors='replace')}" for path in folder.rglob("*") if path.is_file())


def epsearch(folder: StudyFolder, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EPSEARCH, *arguments],
        capture_output=True,
        text=True,
        cwd=folder.path,
        env={**os.environ, "COLUMNS": "200", **environment},
        timeout=300,
    )


@pytest.mark.parametrize("form", FORMS)
def test_no_secret_is_left_behind(form: str, postgresql: Server, study_folder: StudyFolder) -> None:
    url, secret = postgresql.database(), PASSWORD
    database = url.rpartition("/")[2]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'tuner@site'").fetchone()
        if not exists:
            connection.execute(f"CREATE ROLE \"tuner@site\" LOGIN SUPERUSER PASSWORD '{secret}'")  # type: ignore[arg-type]
    url = form.format(secret=QUOTED, port=postgresql.port, database=database)
    directory = str(study_folder.run_directory)
    study_folder.write(MODULE, engine={"workers": 2})
    printed = ""
    for arguments, environment in [
        (["check", "study.yaml", "--set", f"engine.storage={url}"], {}),
        (["run", "study.yaml", "--set", f"engine.storage={url}", "--set", "search.lr=1e-3", "--dir", directory], {}),
        (["run", "study.yaml", "--dir", directory], {"EPSEARCH_STORAGE": url}),
        (["report", directory], {"EPSEARCH_STORAGE": url}),
    ]:
        done = epsearch(study_folder, *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        printed += done.stdout + done.stderr
    forgotten = epsearch(study_folder, "run", "study.yaml", "--dir", directory)
    unknown = epsearch(study_folder, "report", directory)
    assert (forgotten.returncode, unknown.returncode) == (2, 2)
    printed += forgotten.stdout + forgotten.stderr + unknown.stdout + unknown.stderr
    files = written(study_folder.run_directory)
    assert "EPSEARCH_DATA" in files or "PATH" in files, "the worker's log was read"
    assert "'storage': None" in files, "the worker's copy of the study was printed"
    assert "***" in files
    for form_of_it in (secret, QUOTED, quote(secret), secret.split("@")[0], secret.split("@")[1]):
        assert form_of_it not in printed
        assert form_of_it not in files


@pytest.mark.parametrize("form", WRONG)
def test_no_message_shows_a_secret(form: str, postgresql: Server, study_folder: StudyFolder) -> None:
    url = form.format(port=postgresql.port, database="postgres")
    directory = str(study_folder.run_directory)
    study_folder.write(MODULE)
    plain, as_variable = [], {"EPSEARCH_STORAGE": url}
    setting = ["--set", f"engine.storage={url}"]
    for arguments, environment in ((setting, {}), (plain, as_variable)):
        done = epsearch(study_folder, "run", "study.yaml", "--dir", directory, *arguments, **environment)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "engine.storage: " in done.stderr or "EPSEARCH_STORAGE: " in done.stderr
        assert len(done.stderr) < 1000
        for secret in ("wr0ng", "s3cret"):
            assert secret not in done.stdout + done.stderr + written(study_folder.path / "run")
