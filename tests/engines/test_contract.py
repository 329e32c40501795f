"""One contract for every engine: the same studies have the same trials on each of them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from epsearch.registry.engines import ENGINES
from tests.engines.contract import PRUNED_LR, WORST_LR

ISOLATED = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Ray listens on every interface: here there is only loopback."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.thorough, pytest.mark.alone] if name == "ray" else []) for name in ENGINES
    ],
)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the contract's studies on one engine."""
    engine, prefix = request.param, []
    environment = {name: value for name, value in os.environ.items() if name != "EPSEARCH_STORAGE"}
    if engine == "ray":
        if importlib.util.find_spec("ray") is None:
            pytest.skip("Ray is not installed")
        environment.pop("TMPDIR", None)  # the paths of Ray's sockets must be short
        if shutil.which("unshare") and subprocess.run([*ISOLATED, "true"], capture_output=True).returncode == 0:
            prefix = ISOLATED
    folder: Path = tmp_path_factory.mktemp(engine)
    command = [*prefix, sys.executable, "-m", "tests.engines.contract", engine, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return found


def test_every_cell_once_with_its_value(seen: dict[str, Any]) -> None:
    """Over an interrupt and a resume, each of the six cells has one result; values are means over two seeds."""
    assert "interrupted" not in seen, "the interrupt did not reach the caller"
    assert [trial["number"] for trial in seen["mixed"] if trial["fail_reason"] == "lost"] == [1]
    done = [trial for trial in seen["mixed"] if trial["fail_reason"] != "lost"]
    assert Counter((trial["lr"], trial["eps"]) for trial in done) == {
        (lr, eps): 1 for lr in (0.01, 0.1, 1.0) for eps in seen["endpoints"]
    }
    values = {trial["lr"]: (trial["seed_values"], trial["value"]) for trial in done if trial["state"] == "complete"}
    assert values == {0.01: ([1.01, 1.02], pytest.approx(1.015))}
    assert {trial["epochs"] for trial in done if trial["state"] == "complete"} == {4}


def test_failures_have_their_reasons(seen: dict[str, Any]) -> None:
    reasons = {(t["lr"], t["fail_reason"], t["error"]) for t in seen["mixed"] if t["state"] == "failed"}
    assert {reason for reason in reasons if reason[1] != "lost"} == {
        (0.1, "diverged", None),
        (1.0, "raised", "ValueError: not today"),
    }
    assert "Traceback" in seen["log"]
    assert 'raise ValueError("not today")' in seen["log"]


def test_a_resumed_study_retries_what_raised(seen: dict[str, Any]) -> None:
    new = seen["healed"][len(seen["mixed"]) :]
    assert seen["healed"][: len(seen["mixed"])] == seen["mixed"]
    assert [(trial["lr"], trial["state"], trial["seed_values"]) for trial in new] == [
        (1.0, "complete", [2.0, 3.0]),
        (1.0, "complete", [2.0, 3.0]),
    ]


def test_pruning(seen: dict[str, Any]) -> None:
    """The median pruner stops the last trial, the worst, after its first epoch."""
    states = {trial["lr"]: (trial["state"], trial["epochs"]) for trial in seen["pruned"]}
    assert states == dict.fromkeys(PRUNED_LR, ("complete", 3)) | {WORST_LR: ("pruned", 1)}


def test_lr_auto(seen: dict[str, Any]) -> None:
    """The grid along the ridge begins above the best lr, 1e-4, and widens until that lies within."""
    rates = sorted({trial["lr"] for trial in seen["auto"]})
    assert seen["suggestion"] > 1e-3
    assert {widening["reach"] < widening["lr"] for widening in seen["widenings"]} == {True}
    assert sum(widening["trials"] for widening in seen["widenings"]) == len(seen["auto"]) - 6
    best = max(seen["auto"], key=lambda trial: trial["value"])
    assert best["lr"] == 1e-4
    assert rates[0] < 1e-4


def test_the_probe_is_the_same(seen: dict[str, Any]) -> None:
    """One linear layer, three steps of Adam: every engine measures the same range of eps, 1e-3 to 1 and one below."""
    assert seen["endpoints"] == [1e-4, 1.0]


def test_the_learning_rate_test_is_the_same(seen: dict[str, Any]) -> None:
    """A task with an argument: one step in a worker that knows the study."""
    test = seen["lr_test"]
    assert (test["optimizer"], test["eps"]) == ("Adam", 1e-6)
    assert test["settings"] == {"steps": len(test["lrs"]), "beta2": 0.9, "seed": 0, "device": "cpu"}
    assert test["losses"][0] == pytest.approx(0.0302696, rel=1e-4)
