"""Commands about study files: init, list, schema."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from epsearch.cli.options import new_console
from epsearch.core.errors import UserError


def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path("study.yaml"),
) -> None:
    """Write a commented study file to start from."""
    from epsearch.core.commands import command

    if os.path.exists(path):  # also False for an invalid file name
        raise UserError(f"{path}: already exists; name another file.")
    # The study's name is also the run directory's.
    name = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in path.stem) or "study"
    template = files("epsearch.study").joinpath("template.yaml").read_text(encoding="utf-8")
    try:
        path.write_text(template.format(name=json.dumps(name, ensure_ascii=False)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file.") from error
    typer.echo(f"Wrote {path}. Next: {command('check', path)}")


def list_names() -> None:
    """List all valid names for a study file."""
    from epsearch.cli.terminal import say
    from epsearch.registry.engines import ENGINES
    from epsearch.registry.optimizers import ADAPTIVE, BASELINES, OPTIMIZERS
    from epsearch.registry.samplers import PRUNERS, SAMPLERS, SCHEDULERS
    from epsearch.registry.workloads import AUGMENTATIONS, METRICS, WORKLOADS

    console = new_console()

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
    section("pruners", {name: row.note for name, row in PRUNERS.items()})
    section("pruners of engine ray only", {name: row.note for name, row in SCHEDULERS.items()})


def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    typer.echo(files("epsearch.study").joinpath("study.schema.json").read_text(encoding="utf-8"), nl=False)
