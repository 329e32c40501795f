"""Commands to print in messages and reports, as they run in the reader's shell."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

SCRIPT = "epsearch"


def command(*words: str | Path, anywhere: bool = False) -> str:
    """An epsearch command for a POSIX shell in the working folder, or in any folder with `anywhere`."""
    return shlex.join([*_program(anywhere=anywhere), *map(str, words)])


def install(extra: str) -> str:
    """The command that installs an extra of epsearch into its environment."""
    return shlex.join([_path(Path(sys.executable)), "-m", "pip", "install", f"epsearch[{extra}]"])


def _program(*, anywhere: bool) -> list[str]:
    """How a shell starts this installation: by name if it is on PATH, else by path, else by its interpreter."""
    on_path = shutil.which(SCRIPT)
    # The script that was started, or in a notebook or job the one next to the interpreter.
    for script in (Path(*sys.argv[:1]), Path(sysconfig.get_path("scripts"), SCRIPT)):
        if script.name == SCRIPT and script.is_file() and os.access(script, os.X_OK):
            if on_path is not None and os.path.isabs(on_path) and script.samefile(on_path):
                return [SCRIPT]
            return [_path(script, anywhere=anywhere)]
    return [_path(Path(sys.executable), anywhere=anywhere), "-m", "epsearch"]


def _path(file: Path, *, anywhere: bool = False) -> str:
    """The path of `file`, relative if it is below the working folder."""
    path, folder = file.absolute(), Path.cwd()
    if anywhere or not path.is_relative_to(folder):
        return str(path)
    short = str(path.relative_to(folder))
    return short if "/" in short else f"./{short}"
