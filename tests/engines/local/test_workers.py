"""Broken worker processes: what they cost, and what they cannot break."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from optuna.trial import TrialState

from epsearch import pipeline
from epsearch.core.errors import StudyError
from epsearch.engines.local import pool, worker
from epsearch.records.listener import Listener
from epsearch.study.file import load_study
from tests.conftest import StudyFolder
from tests.engines.test_interruptions import trials_of

ONE_LR = {"lr": 1e-3}
PROBED = {"eps": "grid", "lr": 1e-3}
QUICK = """
def train(run):
    for epoch in run.epochs():
        run.report(score=run.eps)
"""


def complete(folder: StudyFolder) -> dict[float, float | None]:
    """The values of the complete trials, by eps; with one lr."""
    return {t.params["eps"]: t.value for t in trials_of(folder) if t.state == TrialState.COMPLETE}


def log_of(folder: StudyFolder) -> str:
    return (folder.run_directory / "logs" / "worker-0.log").read_text()


FORKS = {"Python's fork": "os.fork()", "a library's fork": "ctypes.PyDLL(None).fork()"}


@pytest.mark.thorough
@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_a_forked_child_that_returns_ends(study_folder: StudyFolder, fork: str) -> None:
    """It reports, returns or raises as if it were the worker: the driver ignores it, and it trains nothing more."""
    study_folder.write(
        f"""
        import ctypes, os, pathlib

        def train(run):
            with pathlib.Path(__file__).with_name("trained").open("a") as file:
                print(os.getpid(), file=file)
            for epoch in run.epochs():
                child = {fork}
                if child == 0 and run.eps == 1e-8:
                    run.report(score=-1.0)
                if child == 0 and run.eps == 1e-6:
                    return
                if child == 0:
                    raise SystemExit("of the child")
                if os.waitpid(child, 0)[1] != 0:
                    raise ValueError("the child failed")
                run.report(score=run.eps + epoch)
        """,
        search=ONE_LR,
        training={"seeds": [0, 1]},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert complete(study_folder) == {eps: eps + 1 for eps in (1e-8, 1e-6, 1e-4)}
    assert [list(t.intermediate_values.values()) for t in trials_of(study_folder)] == [
        [eps, eps + 1] * 2 for eps in (1e-6, 1e-8, 1e-4)
    ]
    trained = (study_folder.path / "trained").read_text().split()
    assert len(trained) == 6
    assert len(set(trained)) == 1


def test_messages_of_another_process_or_task_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable message ends the worker, not the driver."""
    folder = StudyFolder(tmp_path)
    folder.write(QUICK)
    with pool.Pool(load_study(folder.path / "study.yaml"), 1, tmp_path / "logs") as workers:
        (first,) = workers.workers(1)
        assert first.call("ready") is None
        pid = first._process.pid
        messages = [(pid + 1, 1, "result", 7), (pid, 0, "result", 7), (pid, 1, "result", 7)]
        monkeypatch.setattr(first.connection, "recv", lambda: messages.pop(0), raising=False)
        assert [first.receive() for _ in range(3)] == [None, None, ("result", 7)]
        monkeypatch.setattr(first.connection, "recv", lambda: int("torn"), raising=False)
        with pytest.raises(pool.WorkerDied, match=r"sent what cannot be read \(ValueError: invalid literal"):
            first.receive()


def test_steps_of_the_probe_are_reported(tmp_path: Path) -> None:
    """Those of the worker itself, not of processes that it forks; the result comes after them."""
    folder = StudyFolder(tmp_path)
    folder.write(
        """
        import os, time, torch

        def train(run):
            model = torch.nn.Linear(4, 1)
            optimizer = run.optimizer(model)
            for _ in run.epochs():
                for step in range(30):
                    optimizer.zero_grad()
                    model(torch.ones(4)).sum().backward()
                    time.sleep(0.02)
                    optimizer.step()
                if (child := os.fork()) == 0:
                    time.sleep(0.2)
                    optimizer.step()
                    os._exit(7)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
                run.report(score=1)
        """,
        search={"eps": "grid"},
    )
    seen: list[int] = []
    with pool.Pool(load_study(folder.path / "study.yaml"), 1, tmp_path / "logs") as workers:
        assert workers.call("probe", steps=seen.append).settings["steps"] == 30
    assert len(seen) >= 2
    assert seen == sorted(set(seen))
    assert 1 <= seen[0] <= seen[-1] <= 30


@pytest.mark.thorough
def test_a_broken_gpu_costs_no_trial(study_folder: StudyFolder) -> None:
    """After one error every later call in that process fails: the process is replaced, its trial restarted."""
    study_folder.write(
        """
        import os, pathlib

        broken = False

        def train(run):
            global broken
            met = pathlib.Path(__file__).with_name("met")
            for epoch in run.epochs():
                if broken or (run.eps == 1e-6 and not met.exists()):
                    met.touch()
                    broken = True
                    raise RuntimeError("CUDA error: device-side assert triggered\\nCompile with ...")
                run.report(score=run.eps)
        """,
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert "restarts (1 of 2): the GPU can no longer be used by this process (CUDA error: device-side" in result.stdout
    assert result.stdout.count("restarts") == 1
    assert [t.state for t in trials_of(study_folder)] == [TrialState.COMPLETE] * 12
    assert "Traceback" in log_of(study_folder)


@pytest.mark.thorough
def test_out_of_memory_is_a_death(study_folder: StudyFolder) -> None:
    """A trial is retried from its checkpoint, and the message names the remedy."""
    study_folder.write(
        """
        import os, pathlib, torch

        def train(run):
            state = run.restore() or {"from": os.getpid()}
            for epoch in run.epochs():
                if run.eps == 1e-6 and epoch == 1 and os.getpid() == state["from"]:
                    torch.empty(1 << 60)
                run.report(score=run.eps + epoch, checkpoint=state)
        """,
        search=ONE_LR,
        training={"checkpoint_every": 0},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert complete(study_folder) == {eps: eps + 1 for eps in (1e-8, 1e-6, 1e-4)}
    assert re.search(r"trial 0 of adam restarts \(1 of 2\): out of memory \(.*use fewer workers", result.stdout)


@pytest.mark.thorough
def test_one_of_several_together_takes_its_process_with_it(study_folder: StudyFolder) -> None:
    """Which one it was is unknown: each is retried alone, and the others finish."""
    study_folder.write(
        """
        import os

        def train(run):
            for epoch in run.epochs():
                if run.eps == 1e-8:  # the second of the three
                    os._exit(3)
                run.report(score=run.eps)
        """,
        search=ONE_LR,
        engine={"together": 3},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert complete(study_folder) == {1e-6: 1e-6, 1e-4: 1e-4}
    _, deadly, _ = trials_of(study_folder)
    assert deadly.user_attrs["fail_reason"] == "died"
    assert "a worker process ended with exit code 3" in deadly.user_attrs["error"]


STARTING = """
import os, pathlib, signal, time

# Each process that loads this module takes the next number.
number = 0
while True:
    try:
        (pathlib.Path(__file__).parent / f"start-{{number}}").touch(exist_ok=False)
        break
    except FileExistsError:
        number += 1
if number >= {able}:
    {fails}

def train(run):
    # Until the other process has failed, there is something left to train.
    while not (pathlib.Path(__file__).parent / "start-1").exists():
        time.sleep(0.1)
    time.sleep(0.3)
    for epoch in run.epochs():
        run.report(score=run.eps)
"""
DEATHS = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "a worker process was killed by SIGKILL (out of memory?"),
    "out of memory": ("raise MemoryError('of the data')", "out of memory ("),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("fails", "message"), DEATHS.values(), ids=DEATHS)
def test_a_worker_that_cannot_start(study_folder: StudyFolder, fails: str, message: str) -> None:
    """The study continues with the one that can, and does not try to start another beside it."""
    study_folder.write(STARTING.format(able=1, fails=fails), engine={"workers": 2})
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert f"a worker could not start; 1 worker left: {message}" in result.stdout
    assert [t.state for t in trials_of(study_folder)] == [TrialState.COMPLETE] * 12
    assert len(list(study_folder.path.glob("start-*"))) == 2


@pytest.mark.thorough
@pytest.mark.parametrize(("fails", "message"), DEATHS.values(), ids=DEATHS)
def test_no_worker_can_start(study_folder: StudyFolder, fails: str, message: str) -> None:
    study_folder.write(STARTING.format(able=0, fails=fails), engine={"workers": 2})
    result = study_folder.run()
    assert result.returncode == 1
    assert f"no worker can start: {message}" in result.stderr
    assert "Traceback" not in result.stderr
    assert trials_of(study_folder) == []


@pytest.mark.thorough
def test_a_module_that_is_missing_ends_the_study(study_folder: StudyFolder) -> None:
    study_folder.write(QUICK, workload={"train": "another:train"}, engine={"workers": 2})
    result = study_folder.run()
    assert result.returncode == 2
    assert "no module named another" in result.stderr


@pytest.mark.thorough
def test_a_trial_that_hangs(study_folder: StudyFolder) -> None:
    """It is killed with its child processes; the others finish, and the next run retries it."""
    module = """
        import os, pathlib, subprocess, time

        def train(run):
            for epoch in run.epochs():
                run.report(score=run.eps, checkpoint={{}})
                if run.eps == 1e-6 and {hangs}:
                    child = subprocess.Popen(["sleep", "3600"])
                    pathlib.Path(__file__).with_name("pids").write_text(f"{{os.getpid()}} {{child.pid}}")
                    time.sleep(3600)
        """
    limited = {"search": ONE_LR, "training": {"checkpoint_every": 0}, "engine": {"trial_timeout": 0.05}}
    study_folder.write(module.format(hangs=True), **limited)
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    expected = "took longer than 0.05 minutes, the limit that engine.trial_timeout sets"
    assert f"timed_out: {expected}" in result.stdout
    assert complete(study_folder) == {1e-8: 1e-8, 1e-4: 1e-4}
    (hung,) = (trial for trial in trials_of(study_folder) if trial.params["eps"] == 1e-6)
    assert (hung.user_attrs["fail_reason"], hung.user_attrs["error"]) == ("timed_out", expected)
    assert not list((study_folder.run_directory / "checkpoints").iterdir())
    for pid in (study_folder.path / "pids").read_text().split():
        stat = Path("/proc", pid, "stat")
        # An orphan may stay a zombie: no process waits for it here.
        assert not stat.exists() or ") Z " in stat.read_text()

    study_folder.write(module.format(hangs=False), **limited)
    again = study_folder.run("--set", "engine.trial_timeout=null")
    assert again.returncode == 0, again.stderr
    assert complete(study_folder) == {1e-8: 1e-8, 1e-6: 1e-6, 1e-4: 1e-4}


@pytest.mark.thorough
def test_a_probe_that_hangs(study_folder: StudyFolder) -> None:
    module = "import time\n\ndef train(run):\n    time.sleep(3600)\n"
    study_folder.write(module, search=PROBED, engine={"trial_timeout": 0.03})
    result = study_folder.run()
    assert result.returncode == 1
    assert "the probe task took longer than 0.03 minutes, the limit that engine.trial_timeout sets" in result.stderr
    assert "Traceback" not in result.stderr


PROBE_ERRORS = {
    "EOFError": 'EOFError("no more data")',
    "ConnectionError": 'ConnectionResetError("of a data server")',
    "SystemExit": 'SystemExit("done")',
    "KeyboardInterrupt": "KeyboardInterrupt()",
}


@pytest.mark.thorough
@pytest.mark.parametrize("error", PROBE_ERRORS.values(), ids=PROBE_ERRORS)
def test_errors_of_the_probe_are_reported(study_folder: StudyFolder, error: str) -> None:
    study_folder.write(f"def train(run):\n    raise {error}\n", search=PROBED)
    result = study_folder.run()
    assert result.returncode == 1
    name = error.partition("(")[0]
    assert result.stderr.startswith(f"epsearch: {name}")
    assert "Traceback" not in result.stderr
    assert "Traceback" in log_of(study_folder)
    assert f"raise {error}" in log_of(study_folder)


@pytest.mark.thorough
def test_a_trial_that_exits(study_folder: StudyFolder) -> None:
    """sys.exit() in a user's code is that trial's failure, with its traceback in the log."""
    study_folder.write(
        """
        import sys

        def train(run):
            for epoch in run.epochs():
                if run.eps == 1e-6:
                    sys.exit("enough")
                run.report(score=run.eps)
        """,
        search=ONE_LR,
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert complete(study_folder) == {1e-8: 1e-8, 1e-4: 1e-4}
    (failed,) = (t.user_attrs for t in trials_of(study_folder) if t.params["eps"] == 1e-6)
    assert (failed["fail_reason"], failed["error"]) == ("raised", "SystemExit: enough")
    assert 'sys.exit("enough")' in log_of(study_folder)


@pytest.mark.thorough
def test_a_probe_whose_process_dies_is_retried(study_folder: StudyFolder) -> None:
    module = """
        import os, pathlib, signal, torch

        def train(run):
            once = pathlib.Path(__file__).with_name("once")
            if not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            parameter = torch.nn.Parameter(torch.ones(8))
            optimizer = run.optimizer([parameter])
            for epoch in run.epochs():
                (parameter * torch.arange(1, 9)).sum().backward()
                optimizer.step()
                run.report(score=run.eps)
        """
    study_folder.write(module, search=PROBED)
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert complete(study_folder)


@pytest.mark.thorough
def test_a_log_is_bounded(study_folder: StudyFolder) -> None:
    """Also the log of a single trial that prints without end."""
    study_folder.write(
        f"""
        import os, time

        def train(run):
            for number in range(30_000):
                print(number, "x" * 400)
            deadline = time.monotonic() + 60
            while os.fstat(1).st_size > {worker.LOG_BYTES} and time.monotonic() < deadline:
                time.sleep(0.1)
            for epoch in run.epochs():
                run.report(score=run.eps)
        """,
        search={"eps": 1e-8, "lr": 1e-3},
    )
    result = study_folder.run()
    assert result.returncode == 0, result.stderr
    assert len(log_of(study_folder)) <= worker.LOG_BYTES
    lines = log_of(study_folder).splitlines()
    assert lines[0] == "[earlier output is dropped; the end of trial 0 follows]"
    assert f"29999 {'x' * 400}" in lines
    assert set(map(len, lines[1:-1])) <= {404, 405, 406}, "whole lines"


def test_what_is_cut_from_a_log(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("a+b") as opened:
        log = worker.Log(opened.fileno())
        os.write(opened.fileno(), b"first\n" * 10)
        log.cut()
        assert file.read_bytes() == b"first\n" * 10
        os.write(opened.fileno(), b"0123456789abcde\n" * (worker.LOG_BYTES // 16))
        log.cut()
        os.write(opened.fileno(), b"last\n")
    lines = file.read_bytes().splitlines()
    assert len(file.read_bytes()) < worker.KEPT_BYTES + 100
    assert lines[0] == b"[earlier output is dropped; the end follows]"
    assert set(lines[1:-1]) == {b"0123456789abcde"}
    assert lines[-1] == b"last"


PIDS = (
    """
import os, pathlib, time

(pathlib.Path(__file__).parent / f"pid-{os.getpid()}").touch()
"""
    + QUICK
)


class Raising(Listener):
    """Fails while the engine handles a worker's answer."""

    def trial_ended(self, *_: object) -> None:
        """Fail."""
        raise ZeroDivisionError


@pytest.mark.thorough
def test_a_failure_of_the_driver_leaves_no_worker(study_folder: StudyFolder) -> None:
    study = study_folder.write(PIDS, engine={"workers": 2})
    with pytest.raises(ZeroDivisionError):
        pipeline.run(study, directory=study_folder.run_directory, listener=Raising())
    pids = [int(file.name.removeprefix("pid-")) for file in study_folder.path.glob("pid-*")]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not [t for t in trials_of(study_folder) if t.state == TrialState.RUNNING]


@pytest.mark.thorough
def test_a_worker_that_cannot_be_told_its_study_is_ended(
    study_folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if Ctrl-C came between the process's start and its first message."""
    started = []

    def interrupted(self: pool.Worker, message: object) -> None:
        started.append(self._process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(pool.Worker, "_send", interrupted)
    config = load_study(study_folder.write(QUICK))
    with pool.Pool(config, 1, study_folder.path / "logs") as workers, pytest.raises(KeyboardInterrupt):
        workers.workers(1)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


@pytest.mark.thorough
def test_a_task_before_the_trials_that_dies_for_good(study_folder: StudyFolder) -> None:
    study = study_folder.write("import os\nos._exit(5)\n", engine={"max_failures": 1})
    with (
        pool.Pool(load_study(study), 1, study_folder.path / "logs") as workers,
        pytest.raises(StudyError, match="a worker process ended with exit code 5; its log is"),
    ):
        workers.call("ready")
