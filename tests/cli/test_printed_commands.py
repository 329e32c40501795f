"""Every command that is printed is run, in a shell whose PATH does not lead to epsearch."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from epsearch.core import commands
from tests.conftest import INLINE

REPOSITORY = Path(__file__).parents[2]
INSTALLED = Path(sys.executable).parent / "epsearch"

SURFACES = """
from math import log10

def train(run):
    if run.probing:
        import torch
        model = torch.nn.Linear(4, 1, bias=False)  # whose gradients are of three decades
        optimizer = run.optimizer(model)
        for _ in run.epochs(1):
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.tensor([[0.3, 0.05, 0.005, 0.0005]])).sum().backward()
                optimizer.step()
            run.report(score=0)
        return
    try:
        found = value(log10(run.lr), log10(run.eps))
    except ValueError:  # a baseline has no eps
        found = 0.5
    for _ in run.epochs(1):
        run.report(score=found)

def value(lr, eps):
    {body}
"""

PEAK = "return 0.9 - 0.02 * abs(lr + 2) - 0.02 * abs(eps + 4)"
LOW_EDGES = "return 0.9 - 0.02 * (lr + 4) - 0.02 * eps"
RIDGE = "return 0.9 + 0.01 * eps - 0.02 * abs(lr - max(eps, -3))"
VALLEY = "return 0.9 - 0.02 * abs(lr + 2) - (0.05 if -5.5 < eps < -2.5 else 0)"

LR = {"low": 1e-3, "high": 1e-1}
EPS = [1e-6, 1e-4, 1e-2]

KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    # What the code is like, what is searched and how, and what the commands are expected to change.
    "an optimum within": (PEAK, {"eps": EPS, "lr": LR}, {}, ["search.lr=0.01 training.seeds"]),
    "one lr": (PEAK, {"eps": EPS, "lr": 1e-2}, {}, ["search.lr={low", "training.seeds"]),
    "one eps": (PEAK, {"eps": 1e-4, "lr": LR}, {}, ["search.eps=grid", "training.seeds"]),
    "edges of a probed grid": (LOW_EDGES, {"lr": LR}, {}, ["search.lr={", "search.eps={", "training.seeds"]),
    "an edge of a grid around the ridge": (
        "return 0.9 - 0.02 * abs(lr + 2) - 0.02 * eps",
        {"lr": "auto"},
        {},
        ["search.eps={", "training.seeds"],
    ),
    "a sampler over lists": (
        LOW_EDGES,
        {"eps": [1e-6, 1e-4], "lr": [1e-3, 1e-2]},
        {"sampler": "random", "trials": 12},
        ["name=", "search.lr={", "search.eps={", "training.seeds"],
    ),
    "a sampler with few trials": (
        PEAK,
        {"eps": {"low": 2e-7, "high": 3e-2}, "lr": {"low": 2e-4, "high": 0.03}, "beta2": {"low": 0.8, "high": 0.9995}},
        {"sampler": "random", "trials": 3},
        ["search.eps=endpoints", "training.seeds"],
    ),
    "a sampler with one trial": (
        PEAK,
        {"eps": {"low": 2e-7, "high": 3e-2}, "lr": LR, "beta2": 0.9},
        {"sampler": "tpe", "trials": 1},
        ["engine.trials=20", "training.seeds"],
    ),
    "a sampler with one eps": (PEAK, {"eps": 1e-4, "lr": LR}, {"sampler": "qmc", "trials": 6}, ["search.eps=cont"]),
}


class Shell:
    """A shell in a folder of its own, whose PATH has the system's programs and not this environment's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EPSEARCH_", "RAY_"))}
        system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.environment = {**kept, "PATH": system, "COLUMNS": "200"}

    def __call__(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def study(self, body: str, search: dict[str, Any], engine: dict[str, Any], **more: Any) -> str:
        """Write a study; the command that runs it."""
        (self.folder / "toy.py").write_text(SURFACES.format(body=body))
        study = {
            "workload": {"train": "toy:train"},
            "metric": {"name": "score", "goal": "maximize"},
            "search": {"beta2": 0.99, **search} if search.get("eps") else search,
            "engine": {**INLINE, **engine},
            **more,
        }
        (self.folder / "s.yaml").write_text(yaml.safe_dump(study))
        return f"{INSTALLED} run s.yaml"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def recommended(output: str) -> list[str]:
    """The lines under `Next`, but for the dashboard's, which does not end."""
    lines = [line.removeprefix("  ") for line in output.partition("\nNext\n")[2].splitlines()]
    assert lines
    assert " dashboard " in lines[0]
    return lines[1:]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_every_command_of_a_verdict_runs(kind: str, shell: Shell) -> None:
    body, search, engine, expected = KINDS[kind]
    first = shell(shell.study(body, search, engine))
    assert first.returncode == 0, first.stderr
    found = recommended(first.stdout)
    programs = [line for line in found if not line.startswith("#")]
    for part in expected:
        assert any(all(word in line for word in part.split(" ")) for line in programs), (part, found)
    comment = found[-2]
    assert comment == "# repeat the best lr with 3 seeds"
    if kind not in ("an optimum within", "a sampler over lists", "a sampler with few trials"):
        found = found[:-2]  # it is the same command everywhere
    for line in found:
        done = shell(line)
        assert (done.returncode, done.stderr) == (0, ""), (line, done)
        # Each of them finds out something.
        assert line == comment or re.search(r"^trials: \d+", done.stdout, re.MULTILINE), (line, done.stdout)
        assert "nothing to do" not in done.stdout, line


@pytest.mark.thorough
def test_advice_comes_to_an_end(shell: Shell) -> None:
    """Whoever follows every command of every verdict is never sent to a study that has nothing left to run."""
    waiting, seen = [shell.study(VALLEY, {"eps": EPS, "lr": 1e-2}, {})], []
    while waiting:
        command = waiting.pop(0)
        seen.append(command)
        done = shell(command)
        assert done.returncode == 0, done.stderr
        assert "nothing to do" not in done.stdout
        waiting += [line for line in recommended(done.stdout) if not line.startswith("#") and line not in waiting]
        assert len(seen) < 12, seen


@pytest.mark.thorough
def test_the_commands_after_an_interruption(shell: Shell) -> None:
    """Printed at Ctrl-C, and by the report of what there is: both resume the same study."""
    command = shell.study(
        "import time; time.sleep(600 if (lr, eps) == (-1, -2) else 0); " + PEAK,
        {"eps": EPS, "lr": LR},
        {"name": "optuna"},
    )
    driver = subprocess.Popen(
        command.split(),
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith("[3/9]"):
            break
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    message, _, again = errors.rstrip("\n").rpartition("\nResume with: ")
    assert message.startswith("Interrupted. Finished trials are saved.\nBest so far: score 0.")
    assert again == f"{INSTALLED} run s.yaml"
    report = shell(f"{INSTALLED} report runs/s")
    assert report.returncode == 0, report.stderr
    (advised,) = [line for line in page_commands(shell.folder / "runs/s/report.html") if " run " in line][:1]
    assert "of 9 trials have finished: resume the study." in (shell.folder / "runs/s/report.html").read_text()
    shell.study(PEAK, {"eps": EPS, "lr": LR}, {"name": "optuna"})
    for line in (advised, again):
        done = shell(line)
        assert done.returncode == 0, done.stderr
        assert "other settings" not in done.stdout + done.stderr
    assert "nothing to do: all 9 trials have finished" in done.stdout


def page_commands(page: Path) -> list[str]:
    blocks = re.findall(r"<pre[^>]*>(.*?)</pre>", page.read_text(), re.DOTALL)
    lines = [html.unescape(line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith(("#", "torch.optim."))]


@pytest.mark.thorough
def test_every_command_of_a_page_runs_anywhere(shell: Shell) -> None:
    """Those of a verdict that large values of eps are best, and those to resume the study and to look at it."""
    assert shell(shell.study(RIDGE, {"eps": EPS, "lr": {"low": 1e-4, "high": 1e-1}}, {})).returncode == 0
    elsewhere = Shell(shell.folder / "else where")
    elsewhere.folder.mkdir()
    found = page_commands(shell.folder / "runs/s/report.html")
    assert [word for line in found for word in line.split()[1:2]] == ["run", "run", "run", "report", "dashboard"]
    assert "search.baselines=[sgd_momentum]" in found[0]
    assert "search.eps={low: 1e-06, high: 0.1}" in found[1]
    for line in found[:-1]:
        done = elsewhere(line)
        assert done.returncode == 0, (line, done.stderr)
    serves(found[-1], elsewhere)


def serves(command: str, shell: Shell) -> None:
    """A dashboard's command serves, until Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["sh", "-c", f"exec {command} --port {port}"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    with server.stdout:
        try:
            assert server.stdout.readline() == f"Optuna's dashboard: http://127.0.0.1:{port}/ (press Ctrl-C to stop)\n"
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=60) == 0


# --- what messages name ---


@pytest.mark.thorough
def test_the_commands_of_messages(shell: Shell) -> None:
    """`init` where there is no study, `check` after it."""
    missing = shell(f"{INSTALLED} check study.yaml")
    assert missing.returncode == 2
    (init,) = re.findall("`(.*?)` writes a template", missing.stderr)
    wrote = shell(init)
    assert wrote.returncode == 0
    checked = shell(wrote.stdout.partition("Next: ")[2])
    assert checked.returncode == 0
    assert "This study       20 trials" in checked.stdout
    not_a_study = shell(f"echo 5 > five.yaml; {INSTALLED} check five.yaml")
    (init,) = re.findall("`(.*?)` writes a template", not_a_study.stderr)
    assert "study.yaml: already exists" in shell(init).stderr


def test_the_command_that_installs_an_extra(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the command is for the working folder
    done = shell(f"{commands.install('cmaes')} --dry-run --no-index --no-build-isolation --quiet")
    assert done.returncode == 0, done.stderr


def test_a_submitted_study_that_nobody_answers_for(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a cluster should be, and is not: one line, and its exit code."""
    from epsearch.engines.ray.jobs import again

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", shell.environment["PATH"])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        command = again("job-1", address)
        done = shell(command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"epsearch: {address}: nothing answers there (")
    assert len(done.stderr.splitlines()) == 1


# --- the README ---

README = (REPOSITORY / "README.md").read_text()


def blocks() -> list[str]:
    found = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`((?:epsearch|pip) [^`]*)`", README)
    return [line for block in found for line in block.splitlines()] + inline


def save_checkpoint(folder: Path) -> None:
    """What Hugging Face's Trainer saves of an optimizer."""
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(4, 8)).sum().backward()
    optimizer.step()
    folder.mkdir()
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")


def outcome_of_readme(line: str, folder: Path) -> Iterator[str]:
    """What is wrong with a command of the README, run from the repository or from a folder with a study."""
    words = line.partition("#")[0].split()
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode:
            yield done.stderr
        return
    if words[0] == "pip":
        assert words[1:] == ["install", "."], line
        return
    text = " ".join(words)
    shell = Shell(folder)
    shell.environment["PATH"] = f"{INSTALLED.parent}:{shell.environment['PATH']}"
    code = 0
    if "submit" in words:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            text = text.replace("http://head:8265", f"http://127.0.0.1:{closed.getsockname()[1]}")
            text, code = f"{text} --set engine.name=ray", 2
    text = text.replace("DIR DIR …", "runs/study runs/other").replace("DIR", "runs/study")
    if "dashboard" in words:
        serves(text, shell)
        return
    if "run" in words:
        text += " --set training.epochs=1 --set search.lr=1e-3 --set search.beta2=0.9"
        # A second run to compare with.
        text += f" && {text} --dir runs/other" if "study.yaml" in words else ""
    done = shell(text)
    if done.returncode != code or "Traceback" in done.stderr:
        yield f"{text}: {done}"


def test_every_command_of_the_readme(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "studies", tmp_path / "studies", ignore=shutil.ignore_patterns("runs"))
    save_checkpoint(tmp_path / "checkpoint-500")
    found = blocks()
    programs = {" ".join(line.split()[:2]) for line in found}
    assert programs >= {"make quickstart", "epsearch init", "epsearch check", "epsearch run", "epsearch submit"}
    # A study is there before what looks at one.
    order = ["make", "pip", "init", "list", "check", "run", "submit", "report", "dashboard", "inspect"]
    found.sort(key=lambda line: next(i for i, word in enumerate(order) if word in line.split()[:2]))
    assert [trouble for line in found for trouble in outcome_of_readme(line, tmp_path)] == []


# --- where the program is ---


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in a folder, started by its script."""
    program = tmp_path / ".venv" / "bin" / "epsearch"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "run"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return program


def test_a_script_that_path_does_not_lead_to(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.command("run", "a b.yaml") == ".venv/bin/epsearch run 'a b.yaml'"
    assert commands.command("list", anywhere=True) == f"{script} list"
    monkeypatch.chdir(script.parent)
    assert commands.command("list") == "./epsearch list"
    monkeypatch.chdir("/usr")
    assert commands.command("list") == f"{script} list"
    # Another installation is on the PATH.
    other = tmp_path / "other" / "epsearch"
    other.parent.mkdir()
    shutil.copy(script, other)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    assert commands.command("list") == f"{script} list"


def test_a_script_on_the_path(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Itself, or a link to it such as pipx makes."""
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    assert commands.command("run", "s.yaml") == "epsearch run s.yaml"
    link = tmp_path / "links" / "epsearch"
    link.parent.mkdir()
    link.symlink_to(script)
    monkeypatch.setenv("PATH", f"{link.parent}:/usr/bin:/bin")
    assert commands.command("run", "s.yaml", anywhere=True) == "epsearch run s.yaml"


def test_no_script_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook in an environment whose scripts are not installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/usr/lib/ipykernel_launcher.py"])
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert commands.command("list") == f"{sys.executable} -m epsearch list"
    monkeypatch.setattr(sys, "argv", [])
    assert commands.command("list") == f"{sys.executable} -m epsearch list"
    assert textwrap.shorten(commands.install("ray"), 500).endswith("-m pip install 'epsearch[ray]'")
