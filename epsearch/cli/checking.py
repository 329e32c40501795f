"""The command that shows what a study will do: check."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Annotated

import typer

from epsearch.cli.options import Directory, Settings, StudyFile, new_console
from epsearch.registry.engines import ENGINES
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.plan import Plan

WIDTH = 17
"""Characters before the text of a fact."""


def check(
    study: StudyFile,
    settings: Settings = [],  # noqa: B006 - typer's way
    directory: Directory = None,
    everything: Annotated[bool, typer.Option("--all", help="Show every setting, defaults included.")] = False,
) -> None:
    """Show the cost of a study, and the settings that differ from the defaults. Runs nothing."""
    from rich.syntax import Syntax

    from epsearch import pipeline
    from epsearch.cli.own_code import check_own_code
    from epsearch.cli.text import describe_cost, duration, print_fact, print_text
    from epsearch.core.commands import command
    from epsearch.core.messages import mask_password
    from epsearch.core.numbers import count
    from epsearch.records.lr_test import STEPS
    from epsearch.study.dump import differences_to_yaml, to_yaml
    from epsearch.study.plan import plan

    console = new_console()
    config = pipeline.load(study, settings)
    run_dir = RunDirectory.of(config, directory)
    check_own_code(config)
    probed = run_dir.load_probe() if config.search.needs_probe else None
    cost = plan(config, probed.range if probed else None)
    points = "a range of eps" if cost.eps_points is None else count(cost.eps_points, "value") + " of eps"
    assumed = "" if cost.probed else " (estimate until probed)"
    test = f" and {STEPS} steps for the lr test" if cost.tests_lr else ""
    print_fact(console, "This study", f"{describe_cost(cost.study)}{test}, over {points}{assumed}", WIDTH, "bold")
    if (seconds := _seconds(config, run_dir, cost)) is not None:
        print_fact(console, "Time", f"about {duration(seconds)}, at the speed of its trials so far", WIDTH)
    if config.search.needs_probe:
        wide = "the same over 20 decades" if config.engine.trials else "with 21 values of eps, 1e-10 to 1e10"
        print_fact(console, "Without a probe", f"{describe_cost(cost.wide)}, {wide}", WIDTH)
    if cost.baselines:
        print_fact(console, "Baselines", f"{cost.baselines:,} of these trials", WIDTH)
    print_fact(console, "Run directory", str(run_dir.path), WIDTH)
    print_text(console)
    shown = to_yaml(config) if everything else differences_to_yaml(config)
    if console.is_terminal:
        console.print(Syntax(shown.rstrip(), "yaml", theme="ansi_dark", background_color="default"), soft_wrap=True)
    else:
        print_text(console, shown.rstrip())
    if not everything:
        again: list[str | Path] = [word for setting in settings for word in ("--set", mask_password(setting))]
        again += ["--dir", directory] if directory else []
        print_text(console, f"\nEvery setting: {command('check', study, *again, '--all')}")


def _seconds(config: StudyConfig, run_dir: RunDirectory, cost: Plan) -> float | None:
    """The time of all trials at the speed of those in the run directory; None until any has run."""
    try:
        with (run_dir.path / "trials.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["seconds"]]
        took, epochs = math.fsum(float(row["seconds"]) for row in rows), sum(int(row["epochs"]) for row in rows)
    except (OSError, ValueError, KeyError):
        return None
    at_once = (config.engine.workers or ENGINES[config.engine.name].workers or 0) * config.engine.together
    if not epochs or not at_once:  # as many workers as fit on a cluster
        return None
    planned = cost.study.trials * epochs / len(rows) if cost.study.epochs is None else cost.study.epochs
    return took / epochs * planned / at_once
