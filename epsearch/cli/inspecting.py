"""The command on checkpoints: inspect."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from epsearch.cli import output
from epsearch.cli.options import new_console
from epsearch.core.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from epsearch.records.probe import ProbeResult


def inspect(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A file of torch.save, or a folder of a trainer or of torch's DCP."),
    ],
    key: Annotated[
        str | None, typer.Option(help="The optimizer, if the checkpoint has several, e.g. optimizer_states.1.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="The optimizer's name, e.g. eadam (default: recognized by its state).")
    ] = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Show how much of the update the eps of a training takes, from any checkpoint with its optimizer."""
    from epsearch.inspecting.inspect import inspect as read

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = read(checkpoint, key=key, optimizer=optimizer)
    for warning in caught:
        output.complain(f"epsearch: {warning.message}")
    if page is not None:
        _write_page(result, checkpoint, page)
    if as_json:
        typer.echo(json.dumps(_to_json(result), indent=1))
        return
    _print(new_console(), result)
    if page is not None:
        typer.echo(f"\nPage  {page}")


def _write_page(result: ProbeResult, checkpoint: Path, page: Path) -> None:
    from epsearch.core.files import write_atomically
    from epsearch.report.html.inspection import inspection

    try:
        write_atomically(page, inspection(result, checkpoint.resolve().name))
    except OSError as error:
        raise UserError(f"{page}: cannot be written ({error.strerror}); name another file.") from error


def _print(console: Console, result: ProbeResult) -> None:
    from rich.table import Table

    from epsearch.cli.text import print_text
    from epsearch.core.numbers import ordinal, rounded
    from epsearch.records.advice import CLASS_COLUMNS, advice, class_rows

    percentiles = [f"{ordinal(each)} percentile" for each in result.percentiles]
    layers = Table("layer", "class", "elements", "zeros", "not finite", *percentiles)
    for layer in result.layers:
        ends = ["-" if value is None else rounded("eps", value) for value in (layer.p2, layer.p98)]
        counts = [f"{number:,}" for number in (layer.numel, layer.zeros, layer.nonfinite)]
        layers.add_row(layer.name, layer.kind, *counts, *ends)
    console.print(layers)
    classes = Table(*CLASS_COLUMNS)
    for row in class_rows(result):
        classes.add_row(*row)
    console.print(classes)
    low, high = rounded("eps", result.range.lower), rounded("eps", result.range.upper)
    print_text(console, f"{result.optimizer}, useful range of eps: {low} to {high}")
    for sentence in advice(result):
        print_text(console, sentence)


def _to_json(result: ProbeResult) -> dict[str, Any]:
    """The advice and what it follows from; the whole record is that of `epsearch.inspect(…).save(…)`."""
    from epsearch.records.advice import advice

    taken = result.damping_by_kind(result.eps) if result.eps is not None else {}
    harmless = result.harmless_by_kind()
    return {
        "optimizer": result.optimizer,
        "settings": result.settings,
        "range": result.range.model_dump(),
        "harmless": result.harmless(),
        "advice": advice(result),
        "classes": {
            kind: {
                "elements": sum(layer.numel for layer in result.layers if layer.kind == kind),
                "percentiles": {str(q): histogram.percentile(q) for q in (2, 50, 98)},
                "taken": taken.get(kind),
                "harmless": harmless[kind],
            }
            for kind, histogram in result.by_kind.items()
            if kind in harmless
        },
        "layers": [layer.model_dump(exclude={"histogram"}) for layer in result.layers],
        "noise": result.noise,
        "skipped": result.skipped,
    }
