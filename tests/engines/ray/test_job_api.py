"""The job API of a cluster as an HTTP server with the test's answers: what is sent, and how answers are handled."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import ray
import yaml

from epsearch.engines.ray import archive as archives
from epsearch.engines.ray import jobs as submission
from tests.conftest import CommandLine

STUDY: dict[str, Any] = {
    "name": "sent",
    "workload": {"train": "mine:train"},
    "metric": {"name": "score", "goal": "maximize"},
    "search": {"eps": [1e-8], "lr": [1e-3], "beta2": 0.999},
    "engine": {"name": "ray"},
}
SECRET = "hunter2"


class JobApi:
    """Answers as Ray's dashboard does, with one job, unless a test changes it; keeps what it receives."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.metadata: dict[str, str] = {"epsearch_study": "sent"}
        self.printed = "a line\n"
        self.nonsense: Callable[[str], tuple[int, bytes] | None] = lambda path: None
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                api.received.append((f"{self.command} {self.path} {self.headers}", body))
                code, content = api.nonsense(self.path) or api.answer(self.command, self.path)
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        job = {
            "type": "SUBMISSION",
            "submission_id": "sent-1",
            "status": "SUCCEEDED",
            "entrypoint": "true",
            "metadata": self.metadata,
        }
        answers: dict[str, Any] = {
            "/api/version": {"version": "4", "ray_version": ray.__version__, "ray_commit": "", "session_name": "x"},
            "/api/jobs/": {"job_id": "sent-1", "submission_id": "sent-1"} if method == "POST" else [job],
        }
        if path in answers:
            return 200, json.dumps(answers[path]).encode()
        if path.startswith("/api/packages/"):
            return (404 if method == "GET" else 200), b"{}"
        if path == "/api/jobs/sent-1/logs":
            return 200, json.dumps({"logs": self.printed}).encode()
        if path.startswith("/api/jobs/sent-1"):
            return 200, json.dumps({"deleted": True} if method == "DELETE" else job).encode()
        return 404, b"no such job"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobApi]:
    api = JobApi()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(submission.ADDRESS_VARIABLE, api.address)
    threading.Thread(target=api.server.serve_forever, daemon=True).start()
    yield api
    api.server.shutdown()
    api.server.server_close()


def write_study(folder: Path, **sections: Any) -> None:
    (folder / "mine.py").write_text("def train(run):\n    run.report(score=1.0)\n")
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, **sections}))


Member = tuple[str, bytes, bytes]
"""A member of an archive: its name, its type, its content or the target of a link."""


def archive(*members: Member) -> str:
    """What the job that reads a run directory prints."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(text)
            else:
                info.linkname = text.decode()
            tar.addfile(info, io.BytesIO(text))
    encoded = base64.encodebytes(content.getvalue()).decode()
    return f"{archives.BEGIN}\n{encoded}{archives.END}\n"


PLAIN: list[Member] = [("trials.csv", tarfile.REGTYPE, b"text"), ("logs/a.log", tarfile.REGTYPE, b"text")]
REFUSED: dict[str, Member] = {
    "parent": ("../evil", tarfile.REGTYPE, b"text"),
    "absolute": ("/tmp/epsearch-evil", tarfile.REGTYPE, b"text"),
    "through the parent": ("logs/../../evil", tarfile.REGTYPE, b"text"),
    "the directory itself": (".", tarfile.REGTYPE, b"text"),
    "symbolic link": ("link", tarfile.SYMTYPE, b"/etc"),
    "hard link": ("link", tarfile.LNKTYPE, b"../study.yaml"),
    "device": ("null", tarfile.CHRTYPE, b""),
    "pipe": ("pipe", tarfile.FIFOTYPE, b""),
}


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def test_a_run_directory_is_fetched_without_checkpoints(api: JobApi, command_line: CommandLine) -> None:
    """A checkpoint is a pickle: resuming from it would run code of whoever made the archive."""
    pickles: list[Member] = [
        ("checkpoints/adam-0.pt", tarfile.REGTYPE, b"pickle"),
        ("./checkpoints/adam-1.pt", tarfile.REGTYPE, b"pickle"),
    ]
    api.printed = archive(*PLAIN, *pickles)
    code, out, err = command_line("fetch", "sent-1")
    assert (code, out) == (0, "Fetched to runs/sent\n")
    assert "checkpoints are not fetched (2 left out)" in err
    assert files_below(command_line.folder) == ["runs/sent/.job", "runs/sent/logs/a.log", "runs/sent/trials.csv"]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_fetched_has_plain_files_alone(api: JobApi, command_line: CommandLine, kind: str) -> None:
    """Nothing is written, here or elsewhere, whatever a cluster sends."""
    api.printed = archive(*PLAIN, REFUSED[kind])
    message = command_line.refuses("fetch", "sent-1")
    assert "which is not a plain file of a run directory: nothing was written" in message
    assert files_below(command_line.folder) == []
    assert not Path("/tmp/epsearch-evil").exists()


def test_a_link_that_is_there_is_not_followed(api: JobApi, command_line: CommandLine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runs" / "sent").mkdir(parents=True)
    (tmp_path / "runs" / "sent" / ".job").touch()
    (tmp_path / "runs" / "sent" / "logs").symlink_to(elsewhere)
    api.printed = archive(*PLAIN)
    assert "nothing was written" in command_line.refuses("fetch", "sent-1")
    assert files_below(elsewhere) == []


@pytest.mark.parametrize("name", ["../../evil", "/tmp/epsearch-evil", "..", ".hidden", "a/b", "", "a\nb", "x" * 300])
def test_the_name_in_a_jobs_metadata_is_a_studys(api: JobApi, command_line: CommandLine, name: str) -> None:
    """It names the directory to write to."""
    api.metadata["epsearch_study"] = name
    api.printed = archive(*PLAIN)
    message = command_line.refuses("fetch", "sent-1")
    assert message.startswith("sent-1: the study's name is not allowed: ")
    assert files_below(command_line.folder) == []
    assert not Path("/tmp/epsearch-evil").exists()


def test_a_damaged_archive(api: JobApi, command_line: CommandLine) -> None:
    whole = archive(("study.db", tarfile.REGTYPE, bytes(range(256)) * 99))
    head, tail = whole[: len(whole) // 2], f"\n{archives.END}\n"
    for printed in (f"{head}{tail}", f"{archives.BEGIN}\n{tail}", f"{archives.BEGIN}\nabc{tail}"):
        api.printed = printed
        assert "what was fetched is damaged" in command_line.refuses("fetch", "sent-1")
    api.printed = "python3: No module named epsearch"
    assert "could not be read: python3: No module named epsearch" in command_line.refuses("fetch", "sent-1")
    assert files_below(command_line.folder) == []


def test_a_place_that_cannot_be_written(api: JobApi, command_line: CommandLine) -> None:
    (command_line.folder / "runs").write_text("a file where the folder should be")
    api.printed = archive(*PLAIN)
    code, out, err = command_line("fetch", "sent-1")
    assert (code, out) == (1, "")
    assert err.startswith("epsearch: runs/sent: could not write the run directory of sent-1")
    assert "Traceback" not in err


def test_a_damaged_database_is_sent_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole one is copied as SQLite does while it is written."""
    (tmp_path / "study.yaml").touch()
    (tmp_path / "study.db").write_bytes(b"not a database")
    with sqlite3.connect(tmp_path / "whole.db") as whole:
        whole.execute("CREATE TABLE trials (number INTEGER)")
    archives.write_out(tmp_path)
    printed = capsys.readouterr().out.partition(archives.BEGIN)[2].partition(archives.END)[0]
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(printed))) as tar:
        damaged = tar.extractfile("study.db")
        assert damaged is not None
        assert damaged.read() == b"not a database"
        assert "whole.db" in tar.getnames()


def test_links_of_a_run_directory_arrive_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("study.yaml", "checkpoints/adam-0.pt"):
        (run / name).write_text("content")
    (run / "report.html").symlink_to(run / "study.yaml")
    (run / "trials.csv").hardlink_to(run / "study.yaml")
    archives.write_out(run)
    printed = capsys.readouterr().out.partition(archives.BEGIN)[2].partition(archives.END)[0]
    assert archives.unpack(printed, tmp_path / "fetched") == []
    assert files_below(tmp_path / "fetched") == ["report.html", "study.yaml", "trials.csv"]
    assert not (tmp_path / "fetched" / "report.html").is_symlink()


NONSENSE: dict[str, tuple[int, bytes]] = {
    "a page": (200, b"<html>Welcome to nginx!</html>"),
    "another JSON": (200, b'{"hello": ["world"]}'),
    "a list": (200, b"[1, 2]"),
    "nothing": (200, b""),
    "null": (200, b"null"),
    "not UTF-8": (200, b"\xff\xfe"),
    "an error": (500, b"Internal Server Error " + b"x" * 10_000),
    "forbidden": (403, b"no"),
}
COMMANDS = [("status", "sent-1"), ("logs", "sent-1"), ("stop", "sent-1"), ("fetch", "sent-1"), ("submit", "study.yaml")]


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("after", ["from the start", "after the version", "for the jobs' list too"])
def test_an_api_that_answers_nonsense(api: JobApi, command_line: CommandLine, kind: str, after: str) -> None:
    """One message that names the address, whatever the command; never a traceback."""
    write_study(command_line.folder)
    if after == "from the start":
        api.nonsense = lambda path: NONSENSE[kind]
    elif after == "after the version":
        api.nonsense = lambda path: None if path == "/api/version" else NONSENSE[kind]
    else:
        answers = {"/api/version": None, "/api/jobs/": NONSENSE[kind]}
        api.nonsense = lambda path: answers.get(path, (404, b""))
    for command in COMMANDS:
        message = command_line.refuses(*command)
        assert api.address in message
        assert "Traceback" not in message
        assert len(message) < 1000


@pytest.mark.parametrize("command", ["status", "logs", "stop", "fetch"])
def test_an_unknown_job(api: JobApi, command_line: CommandLine, command: str) -> None:
    message = command_line.refuses(command, "nothing")
    assert message == f"nothing: there is no such job at {api.address}. Jobs: sent-1 (succeeded)."


def test_a_connection_that_breaks_while_a_job_is_followed(api: JobApi, command_line: CommandLine) -> None:
    """This server has no WebSocket. The job itself continues: exit code 1."""
    code, _, err = command_line("logs", "--follow", "sent-1")
    assert code == 1
    assert err.startswith(f"epsearch: {api.address}: the connection broke (")
    assert "the job continues: epsearch status sent-1 --address " in err


def test_no_secret_is_sent(api: JobApi, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the storage in this machine's environment: not in the job, its environment, its metadata, its package."""
    monkeypatch.setenv("EPSEARCH_STORAGE", f"postgresql+psycopg://tuner:{SECRET}@db/studies")
    write_study(command_line.folder)
    code, out, err = command_line("submit", "study.yaml", "--no-wait", "--set", "training.epochs=3")
    assert code == 0, err
    sent = [text for text, _ in api.received]
    packages = [body for text, body in api.received if text.startswith("PUT")]
    assert len(packages) == 1
    with ZipFile(io.BytesIO(packages[0])) as package:
        contents = {name: package.read(name) for name in package.namelist()}
    assert {"mine.py", "study.yaml"} <= contents.keys()
    everything = [*map(str.encode, sent), *(body for _, body in api.received), *contents.values()]
    assert not [text for text in everything if SECRET.encode() in text]
    assert SECRET not in out + err
    (job,) = [json.loads(body) for text, body in api.received if text.startswith("POST")]
    assert "python3 -m epsearch run study.yaml --set training.epochs=3 --set engine.address=auto" in job["entrypoint"]


PASSWORDS = {
    "plain": f"postgresql+psycopg://tuner:{SECRET}@db/studies",
    "user with an @": f"postgresql+psycopg://tuner@host:{SECRET}@db/studies",
    "as a parameter": f"postgresql+psycopg://tuner@db/studies?password={SECRET}",
}


@pytest.mark.parametrize("kind", PASSWORDS)
@pytest.mark.parametrize("where", ["file", "escaped", "--set"])
@pytest.mark.parametrize("variable", [None, f"postgresql+psycopg://other:{SECRET}@db/studies"])
def test_a_password_in_the_study_is_refused(
    api: JobApi,
    command_line: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    where: str,
    variable: str | None,
) -> None:
    """However it is written in YAML, and whatever this machine's environment holds: nothing is sent."""
    if variable is not None:
        monkeypatch.setenv("EPSEARCH_STORAGE", variable)
    url = PASSWORDS[kind]
    write_study(command_line.folder)
    file, settings = command_line.folder / "study.yaml", []
    if where == "--set":
        settings = ["--set", f"engine.storage={url}"]
    else:
        written = "".join(f"\\u{ord(letter):04x}" for letter in url) if where == "escaped" else url
        file.write_text(file.read_text() + f'\n"engine": {{name: ray, storage: "{written}"}}\n')
        file.write_text(file.read_text().replace("engine:\n  name: ray\n", ""))
    message = command_line.refuses("submit", "study.yaml", "--no-wait", *settings)
    assert "set EPSEARCH_STORAGE" in message
    assert SECRET not in message
    assert not [text for text, _ in api.received if text.startswith(("PUT", "POST"))]
