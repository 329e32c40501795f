"""A Ray that does not start, or dies under a study: one message with its reason, exit code 1."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from optuna.trial import TrialState

from epsearch.core import imports as loading
from epsearch.core.errors import StudyError
from epsearch.engines import base as engines
from epsearch.engines.ray.cluster import connected
from epsearch.engines.ray.watch import Watch
from epsearch.study.file import load_study
from tests.conftest import CommandLine
from tests.engines.ray.test_engine import RayFolder
from tests.engines.test_interruptions import trials_of
from tests.machines import Machines, need_namespaces, wait_for

pytestmark = [pytest.mark.thorough, pytest.mark.alone]

STUDY: dict[str, Any] = {
    "name": "test",
    "workload": {"train": "my_code:train"},
    "metric": {"name": "score", "goal": "maximize"},
    "search": {"eps": [1e-8], "lr": [1e-3], "beta2": 0.999},
    "engine": {"name": "ray"},
}


def write_study(folder: Path) -> Path:
    (folder / "my_code.py").write_text("def train(run):\n    run.report(score=1.0)\n")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return folder / "study.yaml"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (RuntimeError("The current node timed out during startup."), "RuntimeError: The current node timed out"),
        (ValueError("object store memory\nis less than the minimum"), "ValueError: object store memory is less"),
    ],
    ids=["disk", "timeout", "memory"],
)
def test_a_ray_that_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """The message is not about the run directory, and the storage's variable is set again afterwards."""

    def fail(**_: Any) -> None:
        assert "EPSEARCH_STORAGE" not in os.environ
        raise error

    config = load_study(write_study(tmp_path))
    monkeypatch.setenv("EPSEARCH_STORAGE", "sqlite:////nowhere")
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(StudyError) as raised, connected(config, Watch()):
        pass
    assert str(raised.value).startswith(f"Ray did not start on this machine: {reason}")
    assert "\n" not in str(raised.value)
    assert os.environ["EPSEARCH_STORAGE"] == "sqlite:////nowhere"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'ray'", name="ray"),
            "ray needs a package that is not installed (ModuleNotFoundError: No module named 'ray'): ",
        ),
        (
            ImportError("libcrypt.so.1: cannot open shared object file", name="ray._raylet"),
            "ray could not be imported (ImportError: libcrypt.so.1: cannot open shared object file)",
        ),
        (
            ModuleNotFoundError("No module named 'epsearch.engines.gone'", name="epsearch.engines.gone"),
            "ray could not be imported (ModuleNotFoundError: No module named 'epsearch.engines.gone')",
        ),
    ],
    ids=["missing", "library", "ours"],
)
def test_an_engine_that_cannot_be_imported(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, error: ImportError, message: str
) -> None:
    def fail(path: str) -> Any:
        raise error

    assert engines.load_object is loading.load_object
    monkeypatch.setattr(engines, "load_object", fail)
    write_study(command_line.folder)
    refusal = command_line.refuses("run", "study.yaml")
    assert f"study.yaml, line 2: engine.name: {message}" in refusal
    assert "-m pip install 'epsearch[ray]'" in refusal


def test_a_cluster_that_dies_under_a_study(tmp_path: Path) -> None:
    """Ray would end the driver after a minute without a word about the study."""
    need_namespaces()
    folder = RayFolder(tmp_path)
    module = """
        import time

        def train(run):
            for _ in run.epochs():
                time.sleep(0.2)
                run.report(score=run.lr)
        """
    folder.write(module, training={"epochs": 10_000}, engine={"address": "auto"})
    with Machines(tmp_path / "machines") as machines:
        head = machines.add("head", {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"})
        head.start("ray start --head --block --port=6379 --num-cpus=1 --include-dashboard=false --disable-usage-stats")
        wait_for(lambda: "Ray runtime started" in head.log, 120, lambda: head.log)
        with (tmp_path / "printed").open("w+") as printed:
            command = [
                sys.executable,
                "-m",
                "epsearch",
                "run",
                "study.yaml",
                "--dir",
                str(folder.run_directory),
            ]
            driver = head.start(command, cwd=tmp_path, stdout=printed, stderr=printed)
            try:
                wait_for(lambda: any(t.intermediate_values for t in trials_of(folder)), 120, lambda: head.log)
                kill_servers(head.processes())
                assert driver.wait(180) == 1
            finally:
                driver.kill()
            printed.seek(0)
            text = printed.read()
    assert "has not answered for 30 seconds (" in text
    assert "Finished trials are saved; rerun the same command to resume." in text
    assert "Traceback" not in text
    # If the process had to be killed, the next run marks them as lost.
    assert {trial.state for trial in trials_of(folder)} <= {TrialState.RUNNING, TrialState.FAIL}


def kill_servers(processes: list[int]) -> None:
    """The processes of a Ray: the head's server and the raylet."""
    for process in processes:
        program = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]
        if program.endswith((b"gcs_server", b"raylet")):
            os.kill(process, signal.SIGKILL)
