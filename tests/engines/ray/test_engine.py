"""The same studies on Ray Tune: a real Ray, started by the real command, in a network namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from epsearch.search.storage import open_storage
from tests.conftest import StudyFolder
from tests.engines.test_checkpoints import KEEPING, MODULE, check, epochs
from tests.engines.test_checkpoints import expected as expected  # noqa: PLC0414 - a fixture
from tests.engines.test_interruptions import finished_cells, trials_of

ISOLATED = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Ray listens on every interface, whatever its settings: here there is only loopback."""


@pytest.fixture(autouse=True)
def _isolation() -> None:
    if shutil.which("unshare") and subprocess.run([*ISOLATED, "true"], capture_output=True).returncode == 0:
        return
    if os.environ.get("CI"):
        pytest.fail("unshare -n is not permitted")
    pytest.skip("unshare -n, which keeps Ray off the network, is not permitted here (it needs root)")


class RayFolder(StudyFolder):
    """A study folder whose study runs on Ray."""

    def write(self, module: str, **sections: Any) -> Path:
        return super().write(module, **{**sections, "engine": {"name": "ray", **sections.get("engine", {})}})

    def command(self, *arguments: str) -> list[str]:
        return [*ISOLATED, *super().command(*arguments)]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(), cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture
def ray_folder(tmp_path: Path) -> RayFolder:
    return RayFolder(tmp_path)


def outcomes(directory: Path, *names: str) -> dict[tuple[float, float | None], list[float]]:
    """Every epoch's value of every cell in these Optuna studies."""
    storage = open_storage(f"sqlite:///{directory}/study.db")
    trials = [trial for name in names for trial in optuna.load_study(study_name=name, storage=storage).get_trials()]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    return {
        (trial.params["lr"], trial.params.get("eps")): [*trial.intermediate_values.values(), trial.value]
        for trial in trials
    }


def test_same_as_by_optuna(ray_folder: RayFolder) -> None:
    """Probe, searched arm and baseline: the same cells, and in every epoch the same values."""
    ray_folder.write(
        "",
        workload={"train": None, "name": "vision", "dataset": "digits", "model": "mlp"},
        training={"seeds": [0, 1]},
        metric={"name": "accuracy"},
        search={"eps": "endpoints", "lr": [1e-3, 1e-2], "beta2": "auto", "baselines": ["sgd_momentum"], "sgd_lr": 0.1},
    )
    found = []
    for engine in ("optuna", "ray"):
        directory = ray_folder.path / engine
        done = ray_folder.run("--set", f"engine.name={engine}", "--dir", str(directory))
        assert done.returncode == 0, done.stderr
        found.append(
            (json.loads((directory / "probe.json").read_text()), outcomes(directory, "test", "test: sgd_momentum"))
        )
        assert len(found[-1][1]) == 5
    assert found[0] == found[1]
    assert "nothing to do" in ray_folder.run("--set", "engine.name=optuna", "--dir", str(directory)).stdout


@pytest.mark.thorough
@pytest.mark.alone
def test_as_many_trials_at_a_time_as_by_optuna(ray_folder: RayFolder) -> None:
    """`workers: 2` of a study for Optuna, run by Ray: two at a time, though the nodes have room for more."""
    module = """
        import pathlib, time

        def train(run):
            log = pathlib.Path(__file__).with_name("log")
            with log.open("a") as file:
                print("begins", file=file)
            while log.read_text().count("begins") < 2:
                time.sleep(0.05)
            for epoch in run.epochs():
                run.report(score=run.lr)
            with log.open("a") as file:
                print("ends", file=file)
        """
    StudyFolder.write(ray_folder, module, engine={"workers": 2})
    done = ray_folder.run("--set", "engine.name=ray", "--set", "engine.resources.cpu=0.1")
    assert done.returncode == 0, done.stderr
    running = [0]
    for line in (ray_folder.path / "log").read_text().split():
        running.append(running[-1] + (1 if line == "begins" else -1))
    assert (max(running), len(running)) == (2, 25)


@pytest.mark.thorough
@pytest.mark.alone
def test_trials_that_go_wrong(ray_folder: RayFolder) -> None:
    """One of each kind in one study, which continues; the next run retries only the failed ones."""
    module = """
        import math, os, pathlib, signal, sys

        def train(run):
            print("training", run.lr)
            for epoch in run.epochs():
                if {broken} and run.lr == 1e-3:
                    raise ValueError("the dog ate it")
                if {broken} and run.lr == 1e-2:
                    with pathlib.Path(__file__).with_name("deaths").open("a") as file:
                        print(os.getpid(), file=file)
                    os.kill(os.getpid(), signal.SIGKILL)
                if {broken} and run.lr == 1e-1:
                    sys.exit(3)
                run.report(score=math.nan if run.lr == 1.0 else run.lr)
        """
    search = {"lr": [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0], "eps": 1e-8}
    ray_folder.write(module.format(broken=True), search=search, engine={"max_failures": 1})
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "(raylet)" not in done.stdout + done.stderr
    by_lr = {trial.params["lr"]: trial for trial in trials_of(ray_folder)}
    reasons = {lr: trial.user_attrs.get("fail_reason") for lr, trial in by_lr.items()}
    assert reasons == {1e-4: None, 1e-3: "raised", 1e-2: "died", 1e-1: "raised", 1.0: "diverged", 10.0: None}
    assert by_lr[10.0].state == TrialState.COMPLETE
    assert by_lr[1e-3].user_attrs["error"] == "ValueError: the dog ate it"
    assert by_lr[1e-1].user_attrs["error"] == "SystemExit: 3"
    assert "its worker process died: its worker process has died" in by_lr[1e-2].user_attrs["error"]
    assert len((ray_folder.path / "deaths").read_text().split()) == 2, "max_failures: 1 tries it twice"
    logs = "".join(log.read_text() for log in (ray_folder.run_directory / "logs").iterdir())
    assert "training 0.0001" in logs
    assert "ValueError: the dog ate it" in logs

    ray_folder.write(module.format(broken=False), search=search, engine={"max_failures": 1})
    fixed = ray_folder.run()
    assert fixed.returncode == 0, fixed.stderr
    assert "6, of which 3 finished in earlier runs" in fixed.stdout
    assert set(finished_cells(ray_folder).values()) == {1}
    assert len(finished_cells(ray_folder)) == 6


@pytest.mark.thorough
@pytest.mark.alone
def test_a_trial_that_takes_all_memory(ray_folder: RayFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray kills it before the kernel would; it is retried, ends as died, and the others are complete."""
    module = """
        import time

        def train(run):
            for epoch in run.epochs():
                run.report(score=run.lr)
            if run.lr == 1e-2:
                kept = []
                while True:
                    kept.append(bytearray(64 << 20))
                    time.sleep(0.02)
        """
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(memory[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    # At 3 GB more than is in use now, of which Ray and the idle workers take up to 2.
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{1 - (free - 3e6) / total:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    ray_folder.write(
        module,
        search={"lr": [1e-3, 1e-2, 1e-1], "eps": 1e-8},
        engine={"max_failures": 1, "workers": 1},
    )
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    by_lr = {trial.params["lr"]: trial for trial in trials_of(ray_folder)}
    assert {lr: trial.state for lr, trial in by_lr.items()} == {
        1e-3: TrialState.COMPLETE,
        1e-2: TrialState.FAIL,
        1e-1: TrialState.COMPLETE,
    }
    assert by_lr[1e-2].user_attrs["fail_reason"] == "died"
    assert "memory" in by_lr[1e-2].user_attrs["error"]


WORSE_AND_WORSE = """
    import pathlib

    def train(run):
        with pathlib.Path(__file__).with_name("trials").open("a") as file:
            print(run.lr, file=file)
        rank = len(pathlib.Path(__file__).with_name("trials").read_text().split())
        for epoch in run.epochs():
            run.report(score=epoch - rank)
        if run.ended:
            pathlib.Path(__file__).with_name("ended").touch()
    """


@pytest.mark.thorough
@pytest.mark.alone
@pytest.mark.parametrize(
    ("pruner", "engine"),
    [
        ("asha", {"sampler": "grid"}),
        ("median", {"sampler": "tpe", "trials": 8}),
    ],
)
def test_hopeless_trials_are_stopped(ray_folder: RayFolder, pruner: str, engine: dict[str, Any]) -> None:
    """By a scheduler of Ray's, and by a pruner of Optuna's: the first is complete, later and worse ones are pruned."""
    ray_folder.write(
        WORSE_AND_WORSE,
        search={"eps": [1e-8, 1e-6], "lr": {"low": 1e-4, "high": 1e-1}},
        training={"epochs": 5},
        engine={**engine, "pruner": pruner, "workers": 1},
    )
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    trials = trials_of(ray_folder)
    assert len(trials) == 8
    assert trials[0].state == TrialState.COMPLETE
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.PRUNED] >= 2
    assert states[TrialState.PRUNED] + states[TrialState.COMPLETE] == 8
    for trial in trials:
        assert (len(trial.intermediate_values) < 5) == (trial.state == TrialState.PRUNED)
    assert (ray_folder.path / "ended").exists(), "a train(run) that is stopped still runs its last lines"


def wait_for_epochs(folder: StudyFolder, count: int, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while len(epochs(folder)) < count:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes_of(folder: Path) -> list[str]:
    """The processes with the folder's mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"EPSEARCH_MARK={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
        except OSError:
            continue
    return found


def wait_until_gone(left: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + 60
    while found := left():
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


@pytest.mark.thorough
@pytest.mark.alone
def test_driver_is_killed_and_then_workers(
    ray_folder: RayFolder, expected: dict[float, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell finishes once, from its checkpoint, even if a worker dies twice in the next run.

    No process of Ray's outlives its driver for long; none knows the storage.
    """
    monkeypatch.setenv("EPSEARCH_MARK", str(ray_folder.path))
    slow = "assert 'EPSEARCH_STORAGE' not in os.environ; time.sleep(0.5)"
    killing = f"{slow}; run.eps == 1e-8 and epoch in (1, 3) and os.kill(os.getpid(), signal.SIGKILL)"
    ray_folder.write(MODULE.format(after=killing), search={"lr": 1e-3}, training=KEEPING, engine={"workers": 1})
    driver = ray_folder.start()
    wait_for_epochs(ray_folder, 4, driver)
    assert len(processes_of(ray_folder.path)) > 3
    driver.kill()
    driver.communicate()
    # Ray's agents look for their raylet for up to a minute.
    wait_until_gone(lambda: [name for name in processes_of(ray_folder.path) if "Agent" not in name])
    before = len(epochs(ray_folder))
    monkeypatch.delenv("EPSEARCH_MARK")
    monkeypatch.setenv("EPSEARCH_STORAGE", f"sqlite:///{ray_folder.run_directory}/study.db")
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    check(ray_folder, expected)
    first, retry, *others = trials_of(ray_folder)
    assert (first.user_attrs["fail_reason"], retry.user_attrs["retry_of"], len(others)) == ("lost", 0, 2)
    again = [line.split() for line in epochs(ray_folder)[before:]]
    trained = {eps: [int(epoch) for of, epoch in again if of == eps] for eps in ("1e-08", "1e-06")}
    assert trained["1e-06"] in ([3, 4, 5], [4, 5], [5]), "from the last checkpoint that the driver had"
    assert trained["1e-08"] == [0, 1, 2, 3, 4, 5], "each death came after that epoch's checkpoint"
    wait_until_gone(lambda: processes_of(ray_folder.path))


@pytest.mark.thorough
@pytest.mark.alone
def test_interrupt(ray_folder: RayFolder) -> None:
    """In the middle of a long epoch: it stops at once and prints how to resume."""
    ray_folder.write(MODULE.format(after="time.sleep(600)"), search={"lr": 1e-3}, training={"epochs": 3})
    driver = ray_folder.start()
    wait_for_epochs(ray_folder, 1, driver)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert "Resume with: " in errors
    assert "Traceback" not in errors
    assert {trial.user_attrs["fail_reason"] for trial in trials_of(ray_folder)} == {"lost"}


@pytest.mark.thorough
@pytest.mark.alone
def test_mistakes_of_the_user(ray_folder: RayFolder) -> None:
    """Found by a worker, reported by the driver: one message, exit code 2."""
    ray_folder.write("def train(run):\n    for _ in run.epochs():\n        run.report(accurcy=1.0)\n")
    unreported = ray_folder.run()
    assert unreported.returncode == 2
    assert "run.report() was given accurcy" in unreported.stderr
    assert "Traceback" not in unreported.stderr
    assert {trial.user_attrs["fail_reason"] for trial in trials_of(ray_folder)} == {"lost"}

    impossible = ray_folder.run("--set", "engine.resources.gpu=3")
    assert impossible.returncode == 2
    assert "no node has room for a trial, which needs 1 CPUs and 3 GPUs" in impossible.stderr
    for address, reason in (("auto", "Could not find any running Ray"), ("127.0.0.1:6", "Connection refused")):
        nowhere = ray_folder.run("--set", f"engine.address={address}")
        assert nowhere.returncode == 2
        assert f"no Ray cluster answers at {address}" in nowhere.stderr
        assert reason in nowhere.stderr
