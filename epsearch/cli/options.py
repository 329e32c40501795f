"""What commands share: arguments, consoles, exits."""

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
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. training.epochs=15. Repeatable."),
]


Directory = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The run directory; runs/<name> unless given.")
]


def new_console() -> Console:
    """A console on the standard output."""
    from rich.console import Console

    return Console()


def patient_console() -> Console:
    """For what may take days: neither the end of its terminal nor a full disk behind its output ends it."""
    from rich.console import Console

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # also in the workers, which inherit it
    return Console(file=cast("IO[str]", output.Patient(sys.stdout)))


def quiet_optuna() -> None:
    """Optuna's own progress lines would be a second voice on the terminal."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def give_up(error: OSError) -> NoReturn:
    """Nobody gets what was to be printed: say why, unless the reader had enough (`| head`)."""
    output.give_up(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        output.complain(f"epsearch: standard output cannot be written ({error.strerror}).")
    sys.exit(1)


def end(code: int, message: str) -> NoReturn:
    """Print a message on the standard error and exit."""
    output.complain(message)
    sys.exit(code)
