"""The command line: settings come from the study file, options name paths, and `--set` overrides a setting."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from epsearch.cli import catalog, checking, cluster, inspecting, output, studies
from epsearch.cli.options import end, give_up
from epsearch.core.errors import StudyError, UserError
from epsearch.core.messages import MESSAGE_LIMIT, clipped
from epsearch.core.version import __version__

app = typer.Typer(
    help="Find the eps (and lr, beta2) of an adaptive optimizer: one epoch finds the range, Optuna searches it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., None], ...] = (
    *(studies.run, studies.probe, checking.check, studies.report, studies.dashboard),
    inspecting.inspect,
    *(cluster.submit, cluster.status, cluster.logs, cluster.stop, cluster.fetch),
    catalog.init,
)
for command in COMMANDS:
    app.command()(command)
app.command("list")(catalog.list_names)
app.command()(catalog.schema)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"epsearch {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the study failed, 2 the input is wrong, 130 interrupted."""

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    atexit.register(_skip_last_collection)
    # Clusters and containers end a job with SIGTERM: handle it like Ctrl-C.
    signal.signal(signal.SIGTERM, interrupt)
    output.prepare()
    try:
        _run_command()
    except SystemExit as ended:
        if (lost := output.failure()) is not None and not ended.code:
            give_up(lost)
        raise


def _skip_last_collection() -> None:
    """Skip the garbage collection at exit, which takes a second with 10,000 trials.

    Not after an inline study: the bindings of torch's compiler would report what is left as leaked.
    """
    if "torch" not in sys.modules:
        gc.freeze()


def _run_command() -> NoReturn:
    try:
        app(standalone_mode=True)
    except UserError as error:
        end(2, f"epsearch: {clipped(str(error), MESSAGE_LIMIT)}")
    except StudyError as error:
        end(1, f"epsearch: {error}")
    except KeyboardInterrupt:
        end(130, "Interrupted.")
    except OSError as error:
        if not output.is_of_a_stream(error):
            raise  # a bug
        give_up(error)
    sys.exit(0)
