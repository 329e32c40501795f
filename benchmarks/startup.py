"""Measure how fast the command line starts: `epsearch --help` and `check`, compared with `python -c pass`.

The commands run in turns, so that other work on the machine affects all of them alike.

    python benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROUNDS = 15
EPSEARCH = str(Path(sys.executable).parent / "epsearch")


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import epsearch'": [sys.executable, "-c", "import epsearch"],
            "epsearch --help": [EPSEARCH, "--help"],
            "epsearch check study.yaml": [EPSEARCH, "check", "study.yaml"],
            "python -c 'import optuna'": [sys.executable, "-c", "import optuna"],
            "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        }
        subprocess.run([EPSEARCH, "init", "study.yaml"], cwd=folder, check=True, capture_output=True)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - began)
    table = Table("command", "median s", "min s", "max s", title=f"{rounds} interleaved rounds after one warm-up round")
    for name, (_, *measured) in seconds.items():
        table.add_row(name, *(f"{value:.3f}" for value in (statistics.median(measured), min(measured), max(measured))))
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
