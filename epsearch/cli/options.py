"""Arguments, consoles and exits shared by the commands."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from epsearch.cli import output

if TYPE_CHECKING:
    from rich.console import Console


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]


Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. training.epochs=15. Repeatable."),
]


Directory = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The run directory (default: runs/<name>).")
]


def new_console() -> Console:
    """A console on the standard output."""
    from rich.console import Console

    return Console()


def patient_console() -> Console:
    """A console for long runs, which survive a closed terminal and output that cannot be written."""
    from rich.console import Console

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited by the workers
    return Console(file=cast("IO[str]", output.Patient(sys.stdout)))


def quiet_optuna() -> None:
    """Turn off Optuna's progress messages, which would duplicate ours."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def give_up(error: OSError) -> NoReturn:
    """Exit because standard output cannot be written; print why, unless the reader closed it (`| head`)."""
    output.give_up(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        output.complain(f"epsearch: standard output cannot be written ({error.strerror}).")
    sys.exit(1)


def end(code: int, message: str) -> NoReturn:
    """Print a message to standard error and exit."""
    output.complain(message)
    sys.exit(code)
