"""Kill studies at random moments, and compare the results of the resumed studies with those of undisturbed ones.

For each sampler (grid, TPE, random), engine (optuna, ray) and storage (SQLite, PostgreSQL), the real command runs
studies. At a random moment, uniform over the duration of an undisturbed run, SIGKILL goes to the driver's process
group. Half of the time it also goes to every worker and Ray process, as in a power cut; otherwise they end as usual.
The same command resumes the study until it is finished. Then the next study starts, until all kills are used. Each
trial trains a small network with a checkpoint after every epoch.

Counted over the finished studies: finished cells that a kill lost, cells that ran twice (or, with TPE, one too many),
and trials with a value, of an epoch or final, that differs from the same cell trained without interruption. For grid
and random, the cells must equal those of the undisturbed run.

Ray listens on every interface, PostgreSQL on loopback, so:

    unshare -n sh -c 'ip link set lo up; python -m benchmarks.kills [--kills 12] [--ray-kills 5] [--seed 0]'
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from epsearch.records.trial import Cell
from epsearch.search.queue import is_done
from epsearch.search.samplers import cell_of
from epsearch.study.file import load_study
from tests.conftest import StudyFolder
from tests.engines.test_interruptions import trials_of
from tests.postgresql import PostgreSQL

EPOCHS = 4
TRIALS = 16
MODULE = """
    import os, time

    import torch

    def train(run):
        torch.manual_seed(run.seed)
        model = torch.nn.Linear(8, 1, dtype=torch.float64)
        # Inputs of every size, and so a range of eps over several powers of ten.
        x = torch.randn(64, 8, dtype=torch.float64) * torch.logspace(-3, 0, 8, dtype=torch.float64)
        optimizer = run.optimizer(model)
        if (state := run.restore()) is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        for epoch in run.epochs():
            # The random numbers of a trial continue from its checkpoint too.
            for batch in torch.randperm(64).split(16):
                optimizer.zero_grad()
                loss = (model(x[batch]) - x[batch].sum(1, keepdim=True).sin()).square().mean()
                loss.backward()
                optimizer.step()
            time.sleep(float(os.environ.get("KILLS_SECONDS", "0")))
            run.report(loss=loss.item(), checkpoint={"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    """
SECONDS = "0.1"
"""Duration of an epoch in the studies that are killed."""

MARK = "EPSEARCH_MARK"
"""The environment variable that marks a study's processes, including workers and Ray."""

STAGES = ("start-up", "probe", "search", "report")
BEGINS = {
    "probe:": "probe",
    "range of eps": "search",
    "trials:": "search",
    "nothing to do": "report",
    "report": "report",
}
"""The command's output at the start of each stage."""


class Combination(NamedTuple):
    """The kind of study that is killed."""

    engine: str
    sampler: str
    storage: str


class Study(StudyFolder):
    """A study of one combination; `url` is its PostgreSQL database, None for SQLite in the run directory."""

    def __init__(self, path: Path, combination: Combination, url: str | None = None) -> None:
        super().__init__(path)
        path.mkdir(parents=True)
        self._url = url
        engine: dict[str, Any] = {"name": combination.engine, "sampler": combination.sampler}
        if combination.engine == "optuna":
            engine["workers"] = 2
        if combination.sampler != "grid":
            engine["trials"] = TRIALS
        if url is not None:
            engine["storage"] = url
        self.write(
            MODULE,
            training={"epochs": EPOCHS, "checkpoint_every": 0},
            metric={"name": "loss", "goal": "minimize"},
            search={"eps": "grid" if combination.sampler == "grid" else "continuous"},
            engine=engine,
        )

    @property
    def storage(self) -> str:
        return self._url or super().storage

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command in a new process group; its output goes to `self.printed`."""
        environment = {**os.environ, MARK: str(self.path), "KILLS_SECONDS": SECONDS}
        with (self.path / "printed").open("wb") as output:
            return subprocess.Popen(
                self.command(),
                cwd=self.path,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return (self.path / "printed").read_text(errors="replace")

    @property
    def stage(self) -> str:
        """The stage that the command has reached, judged by its output."""
        reached = [
            stage for line in self.printed.splitlines() for sign, stage in BEGINS.items() if line.startswith(sign)
        ]
        return reached[-1] if reached else "start-up"

    def processes(self) -> list[int]:
        """All running processes of the study."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.path}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def cut_power(self) -> None:
        """Send SIGKILL to all of them."""
        while found := self.processes():
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)


class Tally:
    """Counts for one combination."""

    def __init__(self) -> None:
        self.stages: Counter[str] = Counter()
        self.studies = self.finished = self.resumed = 0
        self.lost = self.doubled = self.other = 0
        self.trouble: list[str] = []


def finished_of(trials: list[FrozenTrial]) -> Counter[Cell]:
    return Counter(cell_of("adam", trial.params) for trial in trials if is_done(trial))


def run_killed(
    study: Study, combination: Combination, length: float, kills: int, moments: random.Random, tally: Tally
) -> int:
    """Run the study to its end with at most `kills` kills; return their number."""
    done = 0
    before: Counter[Cell] = Counter()
    while True:
        driver = study.start()
        try:
            code = driver.wait(moments.uniform(0, length) if done < kills else 300)
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            if done == kills:
                tally.trouble.append(f"{study.path.name} did not end within 300 s: {study.printed[-500:]}")
                return done
            done += 1
            tally.stages[study.stage] += 1
            if moments.random() < 0.5:
                study.cut_power()
            finished = finished_of(trials_of(study))
            tally.lost += (before - finished).total()
            before = finished
            continue
        if code != 0:
            tally.trouble.append(f"{study.path.name} ended with exit code {code}: {study.printed[-500:]}")
        return done


def check(study: Study, combination: Combination, cells: Counter[Cell], tally: Tally) -> None:
    """Compare a finished study with the cells of an undisturbed one, and with cells trained without interruption."""
    trials = trials_of(study)
    finished = finished_of(trials)
    tally.studies += 1
    tally.finished += finished.total()
    tally.resumed += sum("retry_of" in trial.user_attrs for trial in trials)
    if combination.sampler == "tpe":
        # TPE's draws depend on the results so far: only the number of cells is fixed, and none may repeat.
        tally.lost += max(0, TRIALS - finished.total())
        tally.doubled += max(0, finished.total() - TRIALS, finished.total() - len(finished))
    else:
        tally.lost += (cells - finished).total()
        tally.doubled += (finished - cells).total()
    for trial in filter(is_done, trials):
        found = [value for _, value in sorted(trial.intermediate_values.items())]
        expected = trained_alone(study.path / "study.yaml", cell_of("adam", trial.params))
        tally.other += trial.state != TrialState.COMPLETE or found != expected or trial.value != min(expected)
    if unfinished := [trial.number for trial in trials if not trial.state.is_finished()]:
        tally.trouble.append(f"{study.path.name}: trials {unfinished} are left unfinished")
    with (study.run_directory / "trials.csv").open() as file:
        rows = sum(row["state"] == "complete" for row in csv.DictReader(file))
    if rows != finished.total():
        tally.trouble.append(f"{study.path.name}: trials.csv has {rows} of {finished.total()} finished trials")


_alone: dict[Cell, list[float]] = {}


def trained_alone(file: Path, cell: Cell) -> list[float]:
    """The metric after each epoch, trained without interruption in this process."""
    if cell not in _alone:
        values: list[float] = []
        (ending,) = _tasks(file).trials([cell], lambda _, __, value: values.append(value) or True)
        assert ending.kind == "finished", ending
        _alone[cell] = values
    return _alone[cell]


@cache
def _tasks(file: Path) -> Any:
    from epsearch.training.process import prepare_process
    from epsearch.training.tasks import StudyTasks

    config = load_study(file)
    prepare_process(config.training.threads)
    return StudyTasks(config)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[tuple[PostgreSQL, int]]:
    """Start a server on loopback; return it and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = PostgreSQL(folder, "tuner", "s3cret")
    server.start("127.0.0.1", port)
    try:
        yield server, port
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=12, help="kills per sampler and storage, engine optuna")
    parser.add_argument("--ray-kills", type=int, default=5, help="the same, engine ray")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console, began = Console(width=140), time.monotonic()
    tallies: dict[Combination, Tally] = {}
    # Ray's sockets lie below it: paths must be short.
    with (
        tempfile.TemporaryDirectory(prefix="kills-", dir="/tmp") as place,
        postgresql(Path(place) / "pg") as (server, port),
    ):
        folder = Path(place)
        for engine, sampler in itertools.product(("optuna", "ray"), ("grid", "tpe", "random")):
            undisturbed = Study(folder / f"{engine}-{sampler}", Combination(engine, sampler, "sqlite"))
            begun = time.monotonic()
            assert undisturbed.start().wait(300) == 0, undisturbed.printed
            length, cells = time.monotonic() - begun, finished_of(trials_of(undisturbed))
            console.print(f"{engine}, {sampler}: {cells.total()} cells in {length:.1f} s without a kill")
            for storage in ("sqlite", "postgresql"):
                combination = Combination(engine, sampler, storage)
                tally = tallies[combination] = Tally()
                moments = random.Random(f"{options.seed} {combination}")
                left = options.kills if engine == "optuna" else options.ray_kills
                while left:
                    name = f"{engine}_{sampler}_{storage}_{tally.studies}"
                    url = None
                    if storage == "postgresql":
                        server.create_database(name, "127.0.0.1", port)
                        url = f"postgresql+psycopg://tuner:s3cret@127.0.0.1:{port}/{name}"
                    study = Study(folder / name, combination, url)
                    left -= run_killed(study, combination, length, left, moments, tally)
                    check(study, combination, cells, tally)
                    study.cut_power()
                for trouble in tally.trouble:
                    console.print(f"[red]{trouble}")
    print_tallies(console, tallies)
    console.print(f"{(time.monotonic() - began) / 60:.0f} minutes")


def print_tallies(console: Console, tallies: dict[Combination, Tally]) -> None:
    table = Table(
        "engine",
        "sampler",
        "storage",
        "kills",
        *STAGES,
        "studies",
        "trials retried",
        "cells",
        "lost",
        "doubled",
        "other value",
    )
    columns = []
    for combination, tally in tallies.items():
        columns.append(
            [
                tally.stages.total(),
                *(tally.stages[stage] for stage in STAGES),
                *(tally.studies, tally.resumed, tally.finished, tally.lost, tally.doubled, tally.other),
            ]
        )
        table.add_row(*combination, *map(str, columns[-1]))
    table.add_section()
    table.add_row("all", "", "", *(str(sum(column)) for column in zip(*columns, strict=True)))
    console.print(table)
    console.print(f"troubles: {sum(len(tally.trouble) for tally in tallies.values())}")


if __name__ == "__main__":
    main()
