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
from epsearch.core.messages import shown

_Rows = dict[str, tuple[str, ...]]
"""Names, and what is known about each, in columns."""


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


def list_names(
    only: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="A section, e.g. optimizers, or a part of a name or of its text.")
    ] = "",
) -> None:
    """List all valid names for a study file, or those that match a filter."""
    from rich.table import Table
    from rich.text import Text

    from epsearch.cli.text import print_text

    console = new_console()
    found = _matching(_sections(), only)
    if not found:
        titles = ", ".join(dict.fromkeys(title.split(": ")[-1] for title in _sections()))
        raise UserError(f"Nothing matches {shown(only)}. Give a part of a name, or one of: {titles}.")
    for title, rows in found.items():
        console.print(f"\n{title}", style="bold")
        if not console.is_terminal:
            for name, texts in rows.items():
                print_text(console, f"  {name:<20} {'; '.join(texts)}".rstrip())
            continue
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="cyan", no_wrap=True, min_width=max(len(name) for name in rows))
        for name, texts in rows.items():
            table.add_row(f"  {name}", *map(Text, texts))
        console.print(table)


def _sections() -> dict[str, _Rows]:
    """The names of each section."""
    from epsearch.registry.engines import ENGINES
    from epsearch.registry.optimizers import ADAPTIVE, BASELINES, OPTIMIZERS
    from epsearch.registry.samplers import PRUNERS, SAMPLERS, SCHEDULERS
    from epsearch.registry.workloads import AUGMENTATIONS, METRICS, WORKLOADS

    sections: dict[str, _Rows] = {}
    for title, names in (("optimizers", ADAPTIVE), ("baselines", BASELINES)):
        rows = {name: OPTIMIZERS[name] for name in names}
        sections[title] = {name: (f"eps {row.eps_enters}", row.note) for name, row in rows.items()}
    for workload, kind in WORKLOADS.items():
        sections[f"workload {workload}: datasets"] = {name: (row.note,) for name, row in kind.datasets.items()}
        models = kind.models | {f"{prefix}NAME": model for prefix, model in kind.families.items()}
        sections[f"workload {workload}: models"] = {name: (row.note,) for name, row in models.items()}
    sections["augmentations"] = dict.fromkeys(AUGMENTATIONS, ())
    sections["metrics whose goal is known"] = {name: (goal,) for name, goal in METRICS.items()}
    for title, table in (
        ("engines", ENGINES),
        ("samplers", SAMPLERS),
        ("pruners", PRUNERS),
        ("pruners of engine ray only", SCHEDULERS),
    ):
        sections[title] = {name: (row.note,) for name, row in table.items()}
    return sections


def _matching(sections: dict[str, _Rows], wanted: str) -> dict[str, _Rows]:
    """The sections with `wanted` in their titles; if there are none, the rows with it in their names or texts."""
    wanted = wanted.strip().lower()
    if named := {title: rows for title, rows in sections.items() if wanted in title}:
        return named
    kept = {
        title: {name: texts for name, texts in rows.items() if wanted in " ".join((name, *texts)).lower()}
        for title, rows in sections.items()
    }
    return {title: rows for title, rows in kept.items() if rows}


def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    typer.echo(files("epsearch.study").joinpath("study.schema.json").read_text(encoding="utf-8"), nl=False)
