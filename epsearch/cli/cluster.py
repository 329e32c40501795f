"""Commands for studies on a Ray cluster: submit, status, logs, stop, fetch."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from epsearch.cli import output
from epsearch.cli.options import Directory, Settings, StudyFile, end, give_up, new_console
from epsearch.core.errors import UserError

if TYPE_CHECKING:
    from epsearch.engines.ray.jobs import Cluster


Address = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="RAY_API_SERVER_ADDRESS",
        help="URL of the Ray cluster's dashboard, e.g. http://head:8265.",
    ),
]


Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's name, as printed by submit.")]


def submit(
    study: StudyFile,
    address: Address,
    settings: Settings = [],  # noqa: B006
    directory: Directory = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job, then fetch its run directory.")
    ] = True,
) -> None:
    """Run a study on a Ray cluster. Uploads the study file and the modules and requirements.txt next to it."""
    from epsearch.cli.text import print_text
    from epsearch.engines.ray.jobs import again, local_copy
    from epsearch.study.file import load_study

    cluster, console = _cluster(address), new_console()
    if wait:
        local_copy(load_study(study, settings).name, directory)
    job = cluster.submit(study, settings)
    print_text(console, f"Job {job}: the run directory is on the head node, in EPSEARCH_RUNS or ~/epsearch-runs.")
    if not wait:
        print_text(console, f"Next: {again(job, address)}")
        return
    try:
        details = cluster.follow(job, output.Patient(sys.stdout).write)
    except KeyboardInterrupt:
        end(130, f"Detached; the job is still running: {again(job, address)}")
    run_dir = None
    try:
        run_dir = cluster.fetch(job, directory, _note)
    except UserError as error:
        typer.echo(f"epsearch: {error}", err=True)
    if run_dir is not None:
        print_text(console, f"\nFetched to {run_dir}")
    if details.status != "SUCCEEDED":
        end(2 if details.driver_exit_code == 2 else 1, f"epsearch: {job}: {details.status.value.lower()}.")


def status(job: Job, address: Address) -> None:
    """Show the state of a submitted study and the last line it printed."""
    from epsearch.cli.text import print_text
    from epsearch.engines.ray.jobs import describe

    cluster = _cluster(address)
    print_text(new_console(), describe(job, cluster.details(job), cluster.logs(job)))


def logs(
    job: Job,
    address: Address,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the job ends.")] = False,
) -> None:
    """Show what a submitted study has printed."""
    cluster = _cluster(address)
    if follow:
        cluster.follow(job, _pass_on)
    else:
        typer.echo(cluster.logs(job), nl=False)


def stop(job: Job, address: Address) -> None:
    """Stop a submitted study, as Ctrl-C would. Resubmit it to resume."""
    from epsearch.cli.text import print_text

    stopped = _cluster(address).stop(job)
    print_text(new_console(), f"{job}: {'stopped; resubmit to resume' if stopped else 'had already ended'}.")


def fetch(job: Job, address: Address, directory: Directory = None) -> None:
    """Copy a submitted study's run directory here, even while it is running."""
    from epsearch.cli.text import print_text

    print_text(new_console(), f"Fetched to {_cluster(address).fetch(job, directory, _note)}")


def _note(text: str) -> None:
    typer.echo(f"epsearch: {text}", err=True)


def _pass_on(text: str) -> None:
    """Print output of the cluster; exit if it cannot be written, which is not an error of the connection."""
    try:
        typer.echo(text, nl=False)
    except OSError as error:
        give_up(error)


def _cluster(address: str) -> Cluster:
    try:
        from epsearch.engines.ray.jobs import Cluster
    except ImportError as error:
        from epsearch.core.imports import not_imported

        raise UserError(f"submitting to Ray {not_imported(error, 'ray')}") from error
    logging.disable(logging.INFO)  # Ray's messages about its uploads
    return Cluster(address)
