"""Hover labels of trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from epsearch.core.numbers import SYMBOLS, count, rounded
from epsearch.records.text import measured
from epsearch.report.analysis.cells import MapCell
from epsearch.report.figures.text import plotly_text


def hover_labels(cells: Iterable[MapCell], metric: str) -> list[str]:
    """The hover labels of points, with all hyperparameters."""
    return ["<br>".join(describe(cell, metric, shown=())) for cell in cells]


def describe(cell: MapCell, metric: str, shown: Sequence[str]) -> list[str]:
    """Lines of a hover label: the cell's trial, without the hyperparameters already `shown`."""
    trial = cell.trial
    assert trial is not None
    lines = [f"{SYMBOLS[name]} {rounded(name, value)}" for name, value in trial.cell.items() if name not in shown]
    if len(cell.trials) > 1:
        lines.append(f"the {'best' if cell.state == 'complete' else 'first'} of {len(cell.trials)} trials here")
    if cell.state == "complete":
        lines.append(f"{plotly_text(metric)} {measured(trial)}")
    elif cell.state == "missing":
        lines.append(trial.state)
    elif cell.state == "pruned":
        lines.append(f"pruned at {measured(trial)}")
    elif cell.state == "diverged":
        lines.append("diverged: no finite value")
    else:
        lines.append(plotly_text(f"failed: {trial.fail_reason or ''} {trial.error or ''}", 120))
    lines.append(f"trial {trial.number}, {count(trial.epochs, 'epoch')}")
    return lines
