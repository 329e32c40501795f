"""Commands on a study: run, probe, check, report, dashboard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from epsearch.cli.options import Directory, Settings, StudyFile, end, new_console, patient_console, quiet_optuna
from epsearch.core.errors import UserError

if TYPE_CHECKING:
    from epsearch.records.outcome import Outcome
    from epsearch.study.config import StudyConfig


def run(
    study: StudyFile,
    settings: Settings = [],  # noqa: B006 - typer's way
    directory: Directory = None,
    optimizers: Annotated[
        str,
        typer.Option(
            "--optimizers", metavar="NAME,NAME", help="Run it with each of these, in DIR/NAME, and compare them."
        ),
    ] = "",
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="If another driver is running this study, stop it and continue in its place."),
    ] = False,
) -> None:
    """Run a study: probe, search, report. Resumes the study if the run directory exists."""
    from epsearch import pipeline
    from epsearch.cli.several import run_each
    from epsearch.cli.summary import print_outcome
    from epsearch.cli.terminal import Terminal
    from epsearch.core.commands import command
    from epsearch.core.messages import mask_password

    quiet_optuna()
    console = patient_console()

    def run_one(config: StudyConfig, place: Path | None) -> Outcome:
        terminal = Terminal(console, config)
        try:
            with terminal:
                return pipeline.run_study(config, place, terminal, take_over=take_over)
        except KeyboardInterrupt:
            again: list[str | Path] = ["run", study]
            again += [word for setting in settings for word in ("--set", mask_password(setting))]
            again += ["--dir", directory] if directory else []
            again += ["--optimizers", optimizers] if optimizers else []
            best = f"Best so far: {terminal.best}\n" * bool(terminal.best)
            end(130, f"Interrupted. Finished trials are saved.\n{best}Resume with: {command(*again)}")

    if optimizers:
        run_each(console, study, settings, directory, optimizers, run_one)
    else:
        print_outcome(console, run_one(pipeline.load(study, settings), directory))


def probe(study: StudyFile, settings: Settings = [], directory: Directory = None) -> None:  # noqa: B006
    """Find the range of eps, layer by layer, and the lr to try if it is auto. A later run uses the results."""
    from rich.table import Table

    from epsearch import pipeline
    from epsearch.cli.terminal import Terminal
    from epsearch.cli.text import print_text
    from epsearch.core.numbers import ordinal, rounded
    from epsearch.study.directory import RunDirectory

    console = patient_console()
    config = pipeline.load(study, settings)
    with Terminal(console, config) as terminal:
        result = pipeline.probe_study(config, directory, terminal)
    if result is None:
        raise UserError(f"{study}: search.eps sets the values, so there is nothing to probe; write eps: grid.")
    percentiles = [f"{ordinal(each)} percentile" for each in result.percentiles]
    table = Table("layer", "elements", "zeros", "not finite", *percentiles)
    for layer in result.layers:
        ends = ["-" if value is None else rounded("eps", value) for value in (layer.p2, layer.p98)]
        table.add_row(layer.name, f"{layer.numel:,}", f"{layer.zeros:,}", f"{layer.nonfinite:,}", *ends)
    console.print(table)
    if result.excluded:
        print_text(console, f"excluded: {', '.join(result.excluded)}")
    for eps in result.range.grid():
        print_text(
            console,
            f"still adaptive at eps {rounded('eps', eps)}: {100 * result.adaptive_fraction(eps):.4g} % of elements",
        )
    run_dir = RunDirectory.of(config, directory)
    figure = run_dir.path / "probe.html"
    result.plot().write_html(figure, include_plotlyjs=True)
    print_text(console, f"\nHistogram  {figure}\nRecord     {run_dir.probe}")
    if config.search.lr == "auto" and (test := run_dir.load_lr_test()) is not None:
        figure = run_dir.path / "lr-test.html"
        test.plot().write_html(figure, include_plotlyjs=True)
        print_text(console, f"LR test    {figure}\nRecord     {run_dir.lr_test}")


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
    """Redraw the report of a run, even while it is running. Several runs are compared in comparison.html."""
    from epsearch import pipeline
    from epsearch.cli.text import print_text
    from epsearch.report.output.export import export, formats_of
    from epsearch.report.output.json import to_json
    from epsearch.report.output.write import write_comparison

    quiet_optuna()
    wanted = formats_of(formats)
    outcomes = [pipeline.report(directory) for directory in directories]
    page = outcomes[0].directory / "report.html"
    if len(outcomes) > 1:
        page = write_comparison(outcomes, Path("comparison.html"))
    for outcome in outcomes:
        export(outcome, wanted)
    if as_json:
        # ASCII, which every terminal can print; always a list, so that scripts need not distinguish one run.
        typer.echo(json.dumps([to_json(outcome) for outcome in outcomes], indent=1))
    else:
        print_text(new_console(), str(page))


def dashboard(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A run directory (default: the storage EPSEARCH_STORAGE).")
    ] = None,
    port: Annotated[int, typer.Option(help="TCP port.", min=1, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen on. The dashboard has no login: keep it on loopback.")
    ] = "127.0.0.1",
) -> None:
    """Serve Optuna's dashboard for a run, with its heatmaps, or for every study of a storage."""
    from epsearch.core.environment import STORAGE_VARIABLE
    from epsearch.report.output.dashboard import serve
    from epsearch.search.storage import open_storage
    from epsearch.study.directory import RunDirectory

    if directory is not None:
        run_dir = RunDirectory(directory)
        config = run_dir.load()
        storage = open_storage(run_dir.storage(config), config.where("engine.storage"))
    elif url := os.environ.get(STORAGE_VARIABLE):
        storage = open_storage(url, STORAGE_VARIABLE)
    else:
        raise UserError(f"Name a run directory, e.g. runs/quickstart, or set {STORAGE_VARIABLE} to a storage's URL.")
    serve(storage, host=host, port=port)
