"""Studies as jobs of a real Ray head that asks for a token, from another machine in a network of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from epsearch.engines.ray.package import runtime_environment
from tests.machines import Machine, Machines, need_namespaces, wait_for

pytestmark = [pytest.mark.thorough, pytest.mark.alone]

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
ADDRESS = "http://head:8265"

HEAD = (
    "ray start --head --block --port=6379 --num-cpus=2 --dashboard-host=0.0.0.0 --metrics-export-port=8090 "
    "--disable-usage-stats"
)
STUDY: dict[str, Any] = {
    "workload": {"train": "mine:train"},
    "training": {"epochs": 2},
    "metric": {"name": "score", "goal": "maximize"},
    "search": {"eps": [1e-8, 1e-6], "lr": [1e-3, 1e-2], "beta2": 0.999},
    "engine": {"name": "ray"},
}
MODULE = "def train(run):\n    for _ in run.epochs():\n        run.report(score=run.lr)\n"


class Site:
    """A machine that has the study, and the cluster's head."""

    def __init__(self, machines: Machines, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        self.runs = folder / "runs"
        often = {"RAY_metrics_report_interval_ms": "1000"}
        self.head = machines.add("head", {**TOKEN, **often, "PATH": path, "EPSEARCH_RUNS": str(self.runs)})
        self.client = machines.add("client", {**TOKEN, "PATH": path, "RAY_API_SERVER_ADDRESS": ADDRESS})

    def write(self, folder: Path, name: str, module: str = MODULE, **sections: Any) -> Path:
        """A study of this name and its module in `folder`."""
        self.folder = folder
        (folder / "mine.py").write_text(module)
        (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, "name": name, **sections}))
        return folder

    def epsearch(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.client.run("epsearch", *words, cwd=self.folder)

    def refuses(self, *words: str) -> str:
        """The message of a command that exits because of the user's input."""
        done = self.epsearch(*words)
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("epsearch: ")
        return done.stderr

    def submit(self, *words: str) -> str:
        """Submit without following the job; return its name."""
        done = self.epsearch("submit", "study.yaml", "--no-wait", *words)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return re.findall(r"Job (\S+):", done.stdout)[0]

    def wait_for(self, job: str, what: str) -> None:
        """Wait until its log has the text, however slow the machine is. Fails if the job ends without it."""

        def logged() -> bool:
            status = self.epsearch("status", job).stdout
            if what in self.epsearch("logs", job).stdout:
                return True
            assert re.match(rf"{job}  (pending|running)", status), status
            return False

        wait_for(logged, 500, lambda: self.epsearch("status", job).stdout)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_namespaces()
    folder = tmp_path_factory.mktemp("site")
    with Machines(folder / "machines") as machines:
        site = Site(machines, folder)
        site.head.start(HEAD)
        wait_for(lambda: "Ray runtime started" in site.head.log, 120, lambda: site.head.log)
        yield site


def test_the_report_comes_back(site: Site, tmp_path: Path) -> None:
    """The user's modules and a file beside them are sent; the second time nothing is left to do."""
    module = """
import pathlib, helpers.words

def train(run):
    print(helpers.words.MORE, pathlib.Path(__file__).with_name("notes.txt").read_text())
    for _ in run.epochs():
        run.report(score=run.lr)
"""
    site.write(tmp_path, "my study", module)
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "words.py").write_text("MORE = 'a package'\n")
    (tmp_path / "notes.txt").write_text("and a file")
    done = site.epsearch("submit", "study.yaml", "--set", "search.lr=[1e-3, 1e-2, 1e-1]")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "Best cell" in done.stdout
    assert "Fetched to runs/my study" in done.stdout
    place = tmp_path / "runs" / "my study"
    assert (place / "report.html").stat().st_size > 1_000_000
    assert len((place / "trials.csv").read_text().splitlines()) == 7
    logs = "".join(log.read_text() for log in (place / "logs").iterdir())
    assert "a package and a file" in logs
    assert not (place / "checkpoints").exists()
    # The fetched folder is a run directory like any other.
    assert site.epsearch("report", str(place)).returncode == 0
    again = site.epsearch("submit", "study.yaml", "--set", "search.lr=[1e-3, 1e-2, 1e-1]")
    assert again.returncode == 0, (again.stdout, again.stderr)
    assert "nothing to do: all 6 trials have finished" in again.stdout


def test_requirements(tmp_path: Path) -> None:
    """Ray installs them for the job. (Not done here: it would copy this virtual environment of gigabytes first.)"""
    assert "pip" not in runtime_environment(tmp_path)
    (tmp_path / "requirements.txt").write_text("einops\n")
    assert runtime_environment(tmp_path)["pip"] == str(tmp_path / "requirements.txt")


def test_status_metrics_stop_and_resume(site: Site, tmp_path: Path) -> None:
    """The last of its four trials is slow while a file exists, so that the job keeps running."""
    held = tmp_path / "held"
    held.touch()
    module = f"""
import pathlib, time

def train(run):
    for _ in run.epochs():
        run.report(score=run.lr)
        if run.lr * run.eps > 2e-9 and pathlib.Path({str(held)!r}).exists():
            time.sleep(1)
"""
    site.write(tmp_path, "long", module, training={"epochs": 120})
    job = site.submit()
    assert job.startswith("long-")
    site.wait_for(job, "[3/4]")
    assert re.search(rf"{job}  running, for .*\n\[3/4\] adam: lr ", site.epsearch("status", job).stdout)
    served = "import sys, urllib.request as r; print(r.urlopen('http://head:8090/metrics').read().decode())"

    def metrics() -> str:
        return site.client.run(sys.executable, "-c", served).stdout

    for sample in (
        r'ray_epsearch_trials\{.*state="running",study="long"\} 1\.0',
        r'ray_epsearch_trials\{.*state="finished",study="long"\} 3\.0',
        r'ray_epsearch_epochs_total\{.*study="long"\} (3[6-9]|4[0-7])\d\.0',
        r'ray_epsearch_best_value\{.*optimizer="adam",.*study="long"\} 0\.01',
    ):
        wait_for(lambda sample=sample: re.search(sample, metrics()), 20, lambda sample=sample: f"{sample}: {metrics()}")
    assert site.epsearch("stop", job).stdout == f"{job}: stopped; resubmit to resume.\n"
    assert site.epsearch("stop", job).stdout == f"{job}: had already ended.\n"
    assert "stopped" in site.epsearch("status", job).stdout
    held.unlink()
    done = site.epsearch("submit", "study.yaml")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "trials: 4, of which 3 finished in earlier runs" in done.stdout
    assert "[1/4]" in site.epsearch("logs", job).stdout
    assert "Best cell" in site.epsearch("logs", "--follow", re.findall(r"Job (\S+):", done.stdout)[0]).stdout


def test_fetched_while_it_runs(site: Site, tmp_path: Path) -> None:
    module = MODULE.replace("for _", "import time\n    for _").replace("run.report", "time.sleep(1); run.report")
    site.write(tmp_path, "fetched early", module, training={"epochs": 3})
    job = site.submit()
    site.wait_for(job, "[2/4]")
    done = site.epsearch("fetch", job, "--dir", "early")
    assert done.returncode == 0, done.stderr
    site.epsearch("stop", job)
    assert site.epsearch("report", "early").returncode == 0
    rows = (tmp_path / "early" / "trials.csv").read_text().splitlines()
    assert sum("complete" in row for row in rows) >= 2


def test_what_fails_there_is_said_here(site: Site, tmp_path: Path) -> None:
    site.write(tmp_path, "failing", "def train(run):\n    raise ValueError('the dog ate it')\n")
    done = site.epsearch("submit", "study.yaml")
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "ValueError: the dog ate it" in done.stdout
    assert "the dog ate it" in "".join(log.read_text() for log in (tmp_path / "runs" / "failing" / "logs").iterdir())
    assert "Traceback" not in done.stdout + done.stderr
    site.write(tmp_path, "misreporting", MODULE.replace("score=", "scoer="))
    done = site.epsearch("submit", "study.yaml")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "run.report() was given scoer" in done.stdout


def test_without_the_token(site: Site, tmp_path: Path) -> None:
    site.write(tmp_path, "secret")
    known = dict(site.client.environment)
    try:
        for key in TOKEN:
            del site.client.environment[key]
        site.client.environment["HOME"] = str(tmp_path)
        unset = site.refuses("submit", "study.yaml")
        site.client.environment.update(TOKEN, RAY_AUTH_TOKEN="6" * 64)
        wrong = site.refuses("submit", "study.yaml")
    finally:
        site.client.environment = known
    for message in (unset, wrong):
        assert "this cluster requires a token" in message
        assert "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN" in message
    assert not (tmp_path / "runs").exists()


def test_mistakes_of_the_user(site: Site, tmp_path: Path) -> None:
    site.write(tmp_path, "mistaken")
    client = site.refuses("submit", "study.yaml", "--address", "ray://head:10001")
    assert "ray://head:10001: is not the address of a Ray cluster's dashboard" in client
    nowhere = site.refuses("submit", "study.yaml", "--address", "http://head:1")
    assert "http://head:1: nothing answers there" in nowhere
    optuna = site.refuses("submit", "study.yaml", "--set", "engine.name=optuna")
    assert "a cluster runs only the engine ray; add --set engine.name=ray" in optuna
    url = "postgresql+psycopg://tuner:hunter2@db/studies"
    secret = site.refuses("submit", "study.yaml", "--set", f"engine.storage={url}")
    assert "set EPSEARCH_STORAGE" in secret
    assert "hunter2" not in secret
    assert "epsilon: no such key" in site.refuses("submit", "study.yaml", "--set", "search.epsilon=1")
    unknown = site.refuses("status", "nothing")
    assert f"nothing: there is no such job at {ADDRESS}" in unknown
    for command in ("logs", "stop", "fetch"):
        assert "no such job" in site.refuses(command, "nothing")
    (tmp_path / "runs" / "mistaken").mkdir(parents=True)
    (tmp_path / "runs" / "mistaken" / "study.db").touch()
    assert "runs/mistaken: already exists" in site.refuses("submit", "study.yaml")
    elsewhere = site.refuses("submit", "study.yaml", "--no-wait", "--set", "workload.folder=/usr")
    assert "/usr is not inside the study file's folder" in elsewhere


def test_a_study_that_is_its_file_alone(site: Site, tmp_path: Path) -> None:
    """Nothing else of its folder is sent."""
    sections = {
        "workload": {"name": "vision", "dataset": "digits", "model": "mlp"},
        "metric": {"name": "accuracy"},
        "search": {"eps": "endpoints", "lr": 1e-2},
    }
    site.write(tmp_path, "digits", **sections)
    done = site.epsearch("submit", "study.yaml")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert (tmp_path / "runs" / "digits" / "probe.json").exists()
    assert "range of eps" in done.stdout


def test_the_head_is_a_machine_of_the_network(site: Site) -> None:
    """No Ray of these tests listens on a reachable interface."""
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True).stdout
    assert ":8265 " not in listening
    assert isinstance(site.head, Machine)
