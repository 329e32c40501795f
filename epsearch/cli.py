"""The command line. Settings stand in the study file; options name places, and `--set` overrides."""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import signal
import sys
from importlib.resources import files
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

import epsearch
from epsearch import output
from epsearch.errors import StudyError, UserError
from epsearch.wording import MESSAGE_LIMIT, clipped

if TYPE_CHECKING:
    from rich.console import Console

    from epsearch.submission import Cluster

app = typer.Typer(
    help="Find the eps (and lr, beta2) of an adaptive optimizer: one epoch tells the range, Optuna searches it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. training.epochs=15. Repeatable."),
]
Directory = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The run directory; runs/<name> unless given.")
]
Address = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="RAY_API_SERVER_ADDRESS",
        help="The Ray cluster's dashboard, which takes jobs: http://head:8265.",
    ),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="A job's name, as submit printed it.")]


@app.command()
def run(
    study: StudyFile,
    settings: Settings = [],  # noqa: B006 - typer's way
    directory: Directory = None,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Run a study that another driver is running, in its place: that one stops."),
    ] = False,
) -> None:
    """Probe, search, report. On a directory that exists: go on with that study."""
    from epsearch import pipeline
    from epsearch.commands import command
    from epsearch.console import Terminal, print_outcome
    from epsearch.studyfile import load_study
    from epsearch.wording import mask_password

    _quiet_optuna()
    console = _patient_console()
    terminal = Terminal(console, load_study(study, settings))
    try:
        with terminal:
            outcome = pipeline.run(study, settings, directory, terminal, take_over=take_over)
    except KeyboardInterrupt:
        again: list[str | Path] = ["run", study]
        again += [word for setting in settings for word in ("--set", mask_password(setting))]
        again += ["--dir", directory] if directory else []
        best = f"Best so far: {terminal.best}\n" * bool(terminal.best)
        _end(130, f"Interrupted. Finished trials are saved.\n{best}Resume with: {command(*again)}")
    print_outcome(console, outcome)


@app.command()
def probe(study: StudyFile, settings: Settings = [], directory: Directory = None) -> None:  # noqa: B006
    """The probe alone: the range of eps, layer by layer. A later run uses it."""
    from rich.table import Table

    from epsearch import pipeline
    from epsearch.console import Terminal, say
    from epsearch.labels import ordinal, rounded
    from epsearch.studyfile import load_study

    console = _patient_console()
    config = load_study(study, settings)
    with Terminal(console, config) as terminal:
        result = pipeline.probe(study, settings, directory, terminal)
    if result is None:
        raise UserError(f"{study}: search.eps gives the values itself, so there is nothing to probe; write eps: grid.")
    percentiles = [f"{ordinal(each)} percentile" for each in result.percentiles]
    table = Table("layer", "elements", "zeros", "not finite", *percentiles)
    for layer in result.layers:
        ends = ["-" if value is None else rounded("eps", value) for value in (layer.p2, layer.p98)]
        table.add_row(layer.name, f"{layer.numel:,}", f"{layer.zeros:,}", f"{layer.nonfinite:,}", *ends)
    console.print(table)
    for eps in result.range.grid():
        say(console, f"share of z above eps {rounded('eps', eps)}: {100 * result.adaptive_fraction(eps):.4g} %")
    place = pipeline.run_directory(config, directory)
    figure = place.path / "probe.html"
    result.plot().write_html(figure, include_plotlyjs=True)
    say(console, f"\nHistogram  {figure}\nRecord     {place.probe}")


@app.command()
def check(study: StudyFile, settings: Settings = [], directory: Directory = None) -> None:  # noqa: B006
    """The resolved study, how many trials, what they cost. Runs nothing."""
    from epsearch import pipeline
    from epsearch.console import describe_cost, say
    from epsearch.labels import count
    from epsearch.plan import plan
    from epsearch.studyfile import to_yaml

    console = _console()
    config = pipeline.load(study, settings)
    place = pipeline.run_directory(config, directory)
    pipeline.check_own_code(config)
    probed = pipeline.load_probe(place) if config.search.needs_probe else None
    cost = plan(config, probed.range if probed else None)
    say(console, to_yaml(config))
    points = "a range of eps" if cost.eps_points is None else count(cost.eps_points, "value") + " of eps"
    assumed = "" if cost.probed else " (typical; the probe will tell)"
    say(console, f"Run directory    {place.path}")
    say(console, f"This study       {describe_cost(cost.study)}, over {points}{assumed}")
    if config.search.needs_probe:
        wide = "the same over 20 decades" if config.engine.trials else "with 21 values of eps, 1e-10 to 1e10"
        say(console, f"Without a probe  {describe_cost(cost.wide)}, {wide}")
    if cost.baselines:
        say(console, f"Of these         {count(cost.baselines, 'trial')} of the baselines")


@app.command()
def report(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR ...", help="Run directories.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON: a list with one object per run.")
    ] = False,
    formats: Annotated[
        list[str],
        typer.Option("--export", metavar="FORMAT", help="Also write figures as png, svg or pdf, or trials as parquet."),
    ] = [],  # noqa: B006
) -> None:
    """Redraw the report of a run, also while it is running; of several, compare them in comparison.html."""
    from epsearch import pipeline
    from epsearch.console import say
    from epsearch.report.export import export, formats_of
    from epsearch.report.machine import as_machines_read
    from epsearch.report.write import write_comparison

    _quiet_optuna()
    wanted = formats_of(formats)
    outcomes = [pipeline.report(directory) for directory in directories]
    page = outcomes[0].directory / "report.html"
    if len(outcomes) > 1:
        page = write_comparison(outcomes, Path("comparison.html"))
    for outcome in outcomes:
        export(outcome, wanted)
    if as_json:
        # ASCII, which every terminal and pipe takes; a list of one run, too, so that a script reads both alike.
        typer.echo(json.dumps([as_machines_read(outcome) for outcome in outcomes], indent=1))
    else:
        say(_console(), str(page))


@app.command()
def dashboard(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A run directory; else the storage of EPSEARCH_STORAGE.")
    ] = None,
    port: Annotated[int, typer.Option(help="TCP port.", min=1, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen on. It has no login: keep it on loopback.")
    ] = "127.0.0.1",
) -> None:
    """Optuna's dashboard on a run's study, with its heatmaps, or on every study of a storage."""
    from epsearch.engines.storage import open_storage
    from epsearch.report.dashboard import serve
    from epsearch.rundir import RunDirectory
    from epsearch.studyfile import STORAGE_VARIABLE

    if directory is not None:
        place = RunDirectory(directory)
        config = place.load()
        storage = open_storage(place.storage(config), config.where("engine.storage"))
    elif url := os.environ.get(STORAGE_VARIABLE):
        storage = open_storage(url, STORAGE_VARIABLE)
    else:
        raise UserError(f"Name a run directory, e.g. runs/quickstart, or set {STORAGE_VARIABLE} to a storage's URL.")
    serve(storage, host=host, port=port)


@app.command()
def submit(
    study: StudyFile,
    address: Address,
    settings: Settings = [],  # noqa: B006
    directory: Directory = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job, and fetch its run directory at the end.")
    ] = True,
) -> None:
    """Run a study on a Ray cluster: its file, and the modules and requirements.txt beside it, go there."""
    from epsearch.console import say
    from epsearch.studyfile import load_study
    from epsearch.submission import again, local_copy

    cluster, console = _cluster(address), _console()
    if wait:
        local_copy(load_study(study, settings).name, directory)
    job = cluster.submit(study, settings)
    say(console, f"Job {job}: its run directory is on the head node, in EPSEARCH_RUNS or ~/epsearch-runs.")
    if not wait:
        say(console, f"Next: {again(job, address)}")
        return
    try:
        details = cluster.follow(job, output.Patient(sys.stdout).write)
    except KeyboardInterrupt:
        _end(130, f"Left; the job goes on: {again(job, address)}")
    place = None
    try:
        place = cluster.fetch(job, directory, _note)
    except UserError as error:
        typer.echo(f"epsearch: {error}", err=True)
    if place is not None:
        say(console, f"\nFetched to {place}")
    if details.status != "SUCCEEDED":
        _end(2 if details.driver_exit_code == 2 else 1, f"epsearch: {job}: {details.status.value.lower()}.")


@app.command()
def status(job: Job, address: Address) -> None:
    """How a submitted study is doing: its state, and the last thing it said."""
    from epsearch.console import say
    from epsearch.submission import describe

    cluster = _cluster(address)
    say(_console(), describe(job, cluster.details(job), cluster.logs(job)))


@app.command()
def logs(
    job: Job,
    address: Address,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """What a submitted study has printed."""
    cluster = _cluster(address)
    if follow:
        cluster.follow(job, _pass_on)
    else:
        typer.echo(cluster.logs(job), nl=False)


@app.command()
def stop(job: Job, address: Address) -> None:
    """End a submitted study, as Ctrl-C would; submitted again, it goes on."""
    from epsearch.console import say

    stopped = _cluster(address).stop(job)
    say(_console(), f"{job}: {'stopped; submitted again, it goes on' if stopped else 'had ended already'}.")


@app.command()
def fetch(job: Job, address: Address, directory: Directory = None) -> None:
    """Copy a submitted study's run directory here, also while it is running."""
    from epsearch.console import say

    say(_console(), f"Fetched to {_cluster(address).fetch(job, directory, _note)}")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path("study.yaml"),
) -> None:
    """Write a commented study file to start from."""
    from epsearch.commands import command

    if os.path.exists(path):  # False, too, for a name that cannot be one
        raise UserError(f"{path}: exists already; name another file.")
    # Any file name gives a study name that a run directory can have.
    name = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in path.stem) or "study"
    template = files("epsearch").joinpath("template.yaml").read_text(encoding="utf-8")
    try:
        path.write_text(template.format(name=json.dumps(name, ensure_ascii=False)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file.") from error
    typer.echo(f"Wrote {path}. Next: {command('check', path)}")


@app.command("list")
def list_names() -> None:
    """Every name a study file can hold."""
    from epsearch.console import say
    from epsearch.engines.table import ENGINES, PRUNERS, SAMPLERS, SCHEDULERS
    from epsearch.optimizers.table import ADAPTIVE, BASELINES, OPTIMIZERS
    from epsearch.workloads.table import AUGMENTATIONS, METRICS, WORKLOADS

    console = _console()

    def section(title: str, rows: dict[str, str]) -> None:
        console.print(f"\n{title}", style="bold")
        for name, text in rows.items():
            say(console, f"  {name:<20} {text}".rstrip())

    for title, names in (("optimizers", ADAPTIVE), ("baselines", BASELINES)):
        section(title, {name: f"eps {OPTIMIZERS[name].eps_enters}; {OPTIMIZERS[name].note}" for name in names})
    for workload, kind in WORKLOADS.items():
        section(f"workload {workload}: datasets", {name: dataset.note for name, dataset in kind.datasets.items()})
        models = kind.models | {f"{prefix}NAME": model for prefix, model in kind.families.items()}
        section(f"workload {workload}: models", {name: model.note for name, model in models.items()})
    section("augmentations", dict.fromkeys(AUGMENTATIONS, ""))
    section("metrics whose goal is known", METRICS)
    section("engines", {name: row.note for name, row in ENGINES.items()})
    section("samplers", {name: row.note for name, row in SAMPLERS.items()})
    section("pruners", dict.fromkeys(PRUNERS, ""))
    section("pruners of engine ray alone", {name: row.note for name, row in SCHEDULERS.items()})


@app.command()
def schema() -> None:
    """The JSON Schema of study files, for editors."""
    typer.echo(files("epsearch").joinpath("study.schema.json").read_text(encoding="utf-8"), nl=False)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"epsearch {epsearch.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


def _console() -> Console:
    from rich.console import Console

    return Console()


def _note(text: str) -> None:
    typer.echo(f"epsearch: {text}", err=True)


def _patient_console() -> Console:
    """For what may take days: neither the end of its terminal nor a full disk behind its output ends it."""
    from rich.console import Console

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # also in the workers, which inherit it
    return Console(file=cast("IO[str]", output.Patient(sys.stdout)))


def _pass_on(text: str) -> None:
    """Print what a cluster sends; where nobody reads it, end here rather than as a failure of the connection."""
    try:
        typer.echo(text, nl=False)
    except OSError as error:
        _give_up(error)


def _cluster(address: str) -> Cluster:
    try:
        from epsearch.submission import Cluster
    except ImportError as error:
        from epsearch.loading import not_imported

        raise UserError(f"submitting to Ray {not_imported(error, 'ray')}") from error
    logging.disable(logging.INFO)  # Ray's own account of what it uploads
    return Cluster(address)


def _quiet_optuna() -> None:
    """Optuna's own progress lines would be a second voice on the terminal."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _give_up(error: OSError) -> NoReturn:
    """Nobody gets what was to be printed: say why, unless the reader had enough (`| head`)."""
    output.give_up(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        output.complain(f"epsearch: standard output cannot be written ({error.strerror}).")
    sys.exit(1)


def _end(code: int, message: str) -> NoReturn:
    output.complain(message)
    sys.exit(code)


def main() -> None:
    """Run the command line: exit code 0 done, 1 the study failed, 2 the input is wrong, 130 interrupted."""

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    # The system takes back what is left at the end; Python would look through it first, a second for 10,000 trials.
    atexit.register(gc.freeze)
    # What ends a job on a cluster or in a container deserves the same care as Ctrl-C.
    signal.signal(signal.SIGTERM, interrupt)
    output.prepare()
    try:
        _run_command()
    except SystemExit as ended:
        if (lost := output.failure()) is not None and not ended.code:
            _give_up(lost)
        raise


def _run_command() -> NoReturn:
    try:
        app(standalone_mode=True)
    except UserError as error:
        _end(2, f"epsearch: {clipped(str(error), MESSAGE_LIMIT)}")
    except StudyError as error:
        _end(1, f"epsearch: {error}")
    except KeyboardInterrupt:
        _end(130, "Interrupted.")
    except OSError as error:
        if not output.is_of_a_stream(error):
            raise  # a fault of ours
        _give_up(error)
    sys.exit(0)


if __name__ == "__main__":
    main()
