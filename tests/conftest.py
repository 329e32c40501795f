"""Studies that the tests run for real: a user's own module beside a study file, in a folder of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from epsearch.cli import main as cli
from tests.servers import postgresql as postgresql  # noqa: PLC0414 - a fixture
from tests.servers import storage_url as storage_url  # noqa: PLC0414 - a fixture

EPSEARCH = [sys.executable, "-m", "epsearch"]

INLINE = {"name": "inline"}
"""The `engine` section of tests that need a finished study and no worker processes."""

# As in an activated environment: commands are printed by their name. Tests of other ways to start set their own PATH.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job ignores it, and so would the commands that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class StudyFolder:
    """A folder with a study file and a user's module, and the command to run it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_directory = path / "run"

    @property
    def storage(self) -> str:
        """The URL of the study's storage."""
        return f"sqlite:///{self.run_directory}/study.db"

    def write(self, module: str, **sections: Any) -> Path:
        """Write `my_code.py` and `study.yaml`; the study trains `my_code:train` over 3 x 4 given cells."""
        (self.path / "my_code.py").write_text(textwrap.dedent(module))
        study: dict[str, Any] = {
            "name": "test",
            "workload": {"train": "my_code:train"},
            "training": {"epochs": 2},
            "metric": {"name": "score", "goal": "maximize"},
            "search": {"eps": [1e-8, 1e-6, 1e-4], "lr": {"low": 1e-4, "high": 1e-1}, "beta2": 0.999},
        }
        for name, section in sections.items():
            study[name] = {**study.get(name, {}), **section} if isinstance(section, dict) else section
        file = self.path / "study.yaml"
        file.write_text(yaml.safe_dump(study))
        return file

    def command(self, *arguments: str) -> list[str]:
        return [*EPSEARCH, "run", str(self.path / "study.yaml"), "--dir", str(self.run_directory), *arguments]

    def run(self, *arguments: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.path,
            env={**os.environ, "COLUMNS": "200"},
            **keywords,
        )


@pytest.fixture
def study_folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class CommandLine:
    """`epsearch` in this process, through the same `main()` as the installed command, in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.delenv("EPSEARCH_STORAGE", raising=False)

    def __call__(self, *arguments: str) -> Ended:
        handler = signal.getsignal(signal.SIGTERM)
        self._monkeypatch.setattr(sys, "argv", ["epsearch", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        signal.signal(signal.SIGTERM, handler)
        return Ended(ended.value.code, *self._capsys.readouterr())  # type: ignore[arg-type]

    def refuses(self, *arguments: str) -> str:
        """The one message of a command that the user's input ends with exit code 2, and nothing else printed."""
        code, out, err = self(*arguments)
        assert code == 2, (code, out, err)
        assert out == ""
        assert err.startswith("epsearch: ")
        assert "Traceback" not in err
        return err.removeprefix("epsearch: ").rstrip("\n")


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)
