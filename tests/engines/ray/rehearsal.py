"""A cluster's bad day: the services of docker/compose.yaml, each on a machine of its own, while a study runs on them.

A study is submitted, with a module beside it, from a machine outside the cluster. A worker's machine dies,
another one joins, the driver is killed, the study is submitted again and fetched; Optuna's dashboard is read meanwhile.
As root, for the network namespaces:

    python -m tests.engines.ray.rehearsal
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.machines import NETWORK, Machine, Machines, wait_for
from tests.postgresql import PostgreSQL

COMPOSE = Path(__file__).parents[3] / "docker" / "compose.yaml"
SECRETS = {"RAY_AUTH_TOKEN": "5" * 64, "POSTGRES_PASSWORD": "s3cret"}
ADDRESS = "http://head:8265"
EPOCHS = 4

STUDY = {
    "name": "rehearsal",
    "workload": {"train": "regression:train"},
    "training": {"epochs": EPOCHS, "checkpoint_every": 0},
    "metric": {"name": "loss", "goal": "minimize"},
    "search": {
        "eps": [1e-8, 1e-4, 1e-2],
        "lr": {"low": 1e-4, "high": 1e-1},
        "beta2": [0.9, 0.99, 0.999],
    },
    "engine": {"name": "ray", "max_failures": 3},
}
TRIALS = 36

MODULE = """
import os, pathlib, time

import torch

import data  # a second module beside the study


def train(run):
    torch.manual_seed(run.seed)
    model = torch.nn.Linear(8, 1, dtype=torch.float64)
    optimizer = run.optimizer(model)
    if (state := run.restore()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    x, y = data.examples()
    for epoch in run.epochs():
        with pathlib.Path(os.environ["REHEARSAL_LOG"]).open("a") as file:
            print(f"{run.lr:g},{run.eps:g},{run.beta2:g} {epoch} {os.environ['REHEARSAL_MACHINE']}", file=file)
        for _ in range(20):
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimizer.step()
        time.sleep(float(os.environ["REHEARSAL_SECONDS"]))
        run.report(loss=loss.item(), checkpoint={"model": model.state_dict(), "optimizer": optimizer.state_dict()})
"""
DATA = """
import torch


def examples():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(256, 8, generator=generator, dtype=torch.float64)
    return x, x.sum(1, keepdim=True).sin()
"""

TRIALS_AS_JSON = """
import json, optuna, os, sys
study = optuna.load_study(study_name="rehearsal", storage=os.environ["EPSEARCH_STORAGE"])
json.dump([
    {"state": trial.state.name, "cell": trial.params, "value": trial.value, "attributes": trial.user_attrs,
     "epochs": [value for _, value in sorted(trial.intermediate_values.items())]} for trial in study.get_trials()
], sys.stdout)
"""

Trials = list[dict[str, Any]]


class Cluster:
    """The services of the compose file, and a machine beside them that has the study, of some seconds an epoch."""

    def __init__(self, machines: Machines, folder: Path, seconds: float) -> None:
        self._machines, self._folder, self._seconds = machines, folder, seconds
        self._services = yaml.safe_load(COMPOSE.read_text())["services"]
        self.study = folder / "study"
        self.study.mkdir()
        (self.study / "study.yaml").write_text(yaml.safe_dump(STUDY))
        (self.study / "regression.py").write_text(MODULE)
        (self.study / "data.py").write_text(DATA)
        self.epochs_log = folder / "epochs"
        self.client = machines.add("client", self._environment("head"))

    def start(self, service: str, name: str | None = None) -> Machine:
        """A service, by the compose file's own command and environment."""
        machine = self._machines.add(name or service, self._environment(service, name))
        machine.start(self._services[service]["command"])
        return machine

    @contextmanager
    def database(self) -> Iterator[None]:
        """PostgreSQL, which has no image here."""
        machine = self._machines.add("postgres")
        server = PostgreSQL(self._folder / "database", "epsearch", SECRETS["POSTGRES_PASSWORD"], machine.command)
        server.start("*", 5432, f"{NETWORK}.0/24")
        server.create_database("epsearch", machine.address, 5432)
        try:
            yield
        finally:
            server.stop()

    def epsearch(self, *words: str) -> Any:
        """The command line on the client's machine."""
        return self.client.run("epsearch", *words, cwd=self.study)

    def trials(self) -> Trials:
        """The rows of the database."""
        done = self.client.run(sys.executable, "-c", TRIALS_AS_JSON)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def trained(self) -> list[tuple[str, int, str]]:
        """Every epoch that began: its cell, number and machine."""
        lines = self.epochs_log.read_text().split("\n")[:-1] if self.epochs_log.exists() else []
        return [(cell, int(epoch), machine) for cell, epoch, machine in map(str.split, lines)]

    def seen_in_dashboard(self) -> Counter[str]:
        """States of the trials, as Optuna's dashboard sends them to a browser."""
        ask = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
        (study,) = self._get(ask, "/api/studies")["study_summaries"]
        trials = self._get(ask, f"/api/studies/{study['study_id']}")["trials"]
        return Counter(trial["state"] for trial in trials)

    def _get(self, ask: str, path: str) -> Any:
        done = self.client.run(sys.executable, "-c", ask, f"http://dashboard:8080{path}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _environment(self, service: str, name: str | None = None) -> dict[str, str]:
        given = self._services[service].get("environment", {})
        secret = re.compile(r"\$\{(\w+):\?[^}]*\}")
        return {
            **{key: secret.sub(lambda found: SECRETS[found[1]], value) for key, value in given.items()},
            # What the image sets, and what this study's module reads.
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "EPSEARCH_RUNS": str(self._folder / "runs"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "REHEARSAL_LOG": str(self._folder / "epochs"),
            "REHEARSAL_MACHINE": name or service,
            "REHEARSAL_SECONDS": str(self._seconds),
            "WORKER_OPTIONS": "--num-cpus=2",
        }


def rehearse(folder: Path, say: Callable[[str], None]) -> None:
    """Run all of it.

    Raises:
        AssertionError: Something went wrong."""
    with Machines(folder / "machines") as machines:
        # Trials last longer than a worker process takes to start. Ray Tune moves a trial whose process is starting yet
        # to one that has become free meanwhile: of shorter trials a machine that joins would get none.
        cluster = Cluster(machines, folder, seconds=2)
        expected = alone(cluster)
        say(f"{len(expected)} cells by Optuna on one machine, to compare with")
        with cluster.database():
            head = cluster.start("head")
            wait_for(lambda: "Ray runtime started" in head.log, 120, lambda: head.log)
            workers = [cluster.start("worker", "worker-1"), cluster.start("worker", "worker-2")]
            cluster.start("dashboard")
            for worker in workers:
                wait_for(lambda worker=worker: "Ray runtime started" in worker.log, 120, lambda: workers[0].log)
            say("head, two workers, PostgreSQL and the dashboard are up")

            first = submit(cluster)
            wait_for(lambda: ready_to_lose(cluster, "worker-1"), 180, lambda: status(cluster, first))
            before = cluster.seen_in_dashboard()
            workers[0].kill()
            say(f"worker-1 is killed; the dashboard shows {dict(before)}")
            workers.append(cluster.start("worker", "worker-3"))
            wait_for(lambda: {"worker-3"} & machines_of(cluster), 180, lambda: status(cluster, first))
            wait_for(lambda: len(cluster.trained()) > TRIALS * EPOCHS // 2, 180, lambda: status(cluster, first))
            during = cluster.seen_in_dashboard()
            head.kill("epsearch", "run")
            wait_for(lambda: "failed" in status(cluster, first), 60, lambda: status(cluster, first))
            say(f"worker-3 has joined; the driver is killed; the dashboard shows {dict(during)}")
            assert during["Complete"] > before["Complete"]

            done = cluster.epsearch("submit", "study.yaml", "--address", ADDRESS, "--dir", str(folder / "fetched"))
            assert done.returncode == 0, (done.stdout, done.stderr)
            say("submitted again, to its end:\n  " + "\n  ".join(done.stdout.splitlines()[-12:]))
            check(cluster, expected, say)
            assert cluster.seen_in_dashboard()["Complete"] == TRIALS
        assert (folder / "fetched" / "report.html").stat().st_size > 1_000_000
        assert SECRETS["POSTGRES_PASSWORD"] not in (folder / "fetched" / "study.yaml").read_text() + done.stdout


def alone(cluster: Cluster) -> dict[str, list[float]]:
    """Every epoch's value of every cell, from the Optuna engine."""
    client, directory = cluster.client, cluster.study.parent / "alone"
    storage = f"sqlite:///{directory}/study.db"
    client.environment |= {"REHEARSAL_SECONDS": "0", "REHEARSAL_LOG": "/dev/null", "EPSEARCH_STORAGE": storage}
    settings = ["engine.name=optuna", "engine.max_failures=2", "engine.workers=2"]
    words = [word for setting in settings for word in ("--set", setting)]
    done = cluster.epsearch("run", "study.yaml", "--dir", str(directory), *words)
    assert done.returncode == 0, done.stderr
    found = by_cell(cluster.trials())
    # From here on it shows the cluster's.
    client.environment |= cluster._environment("head")
    assert len(found) == TRIALS
    return found


def submit(cluster: Cluster) -> str:
    """Submit the study without following it; return the job's name."""
    done = cluster.epsearch("submit", "study.yaml", "--address", ADDRESS, "--no-wait")
    assert done.returncode == 0, (done.stdout, done.stderr)
    return str(re.findall(r"Job (\S+):", done.stdout)[0])


def status(cluster: Cluster, job: str) -> str:
    """What `epsearch status` prints."""
    done = cluster.epsearch("status", job, "--address", ADDRESS)
    return str(done.stdout + done.stderr)


def machines_of(cluster: Cluster) -> set[str]:
    """Where epochs were trained."""
    return {machine for _, _, machine in cluster.trained()}


def ready_to_lose(cluster: Cluster, machine: str) -> bool:
    """Whether a trial running there has trained some epochs, and others have begun elsewhere."""
    trained = cluster.trained()
    last = {cell: (epoch, where) for cell, epoch, where in trained}
    return len(trained) > 30 and any(where == machine and 2 <= epoch < EPOCHS - 1 for epoch, where in last.values())


def by_cell(trials: Trials) -> dict[str, list[float]]:
    """The values of every epoch of the complete trials, by cell; each cell once."""
    complete = [trial for trial in trials if trial["state"] == "COMPLETE"]
    found = {
        "{lr:g},{eps:g},{beta2:g}".format(**trial["cell"]): [*trial["epochs"], trial["value"]] for trial in complete
    }
    assert len(found) == len(complete)
    return found


def check(cluster: Cluster, expected: dict[str, list[float]], say: Callable[[str], None]) -> None:
    """Every cell finished once, with the values it has on one machine; trials whose machine died resumed."""
    trials = cluster.trials()
    found = by_cell(trials)
    assert found.keys() == expected.keys()
    differing = {cell: (found[cell], values) for cell, values in expected.items() if found[cell] != values}
    assert not differing, differing
    others = Counter((trial["state"], trial["attributes"].get("fail_reason")) for trial in trials)
    assert others.pop(("COMPLETE", None)) == TRIALS
    assert set(others) == {("FAIL", "lost")}, others
    rows: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for cell, epoch, machine in cluster.trained():
        rows[cell].append((epoch, machine))
    moved = {cell: row for cell, row in rows.items() if len({machine for _, machine in row}) > 1}
    resumed = [cell for cell, row in moved.items() if [epoch for epoch, _ in row].count(0) == 1]
    assert resumed, f"no trial went on from its checkpoint on another machine: {moved}"
    again = sum(map(len, rows.values())) - TRIALS * EPOCHS
    say(
        f"{TRIALS} cells finished once, as on one machine; {sum(others.values())} trials lost with the driver; "
        f"{len(resumed)} went on elsewhere from a checkpoint; {again} of {TRIALS * EPOCHS} epochs were trained again"
    )


def main() -> None:
    """Rehearse, and print each event with its time."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        Path(folder).chmod(0o755)
        print(shlex.join(sys.argv), flush=True)
        rehearse(Path(folder), lambda text: print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True))


if __name__ == "__main__":
    main()
