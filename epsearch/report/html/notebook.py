"""A probe's result and a study's outcome in a notebook: a few lines of HTML, no script."""

from __future__ import annotations

from epsearch.core.messages import one_line
from epsearch.core.numbers import label, percent
from epsearch.records.outcome import Outcome
from epsearch.records.outliers import explain_ranges
from epsearch.records.probe import ProbeResult
from epsearch.records.text import describe_cell, measured
from epsearch.report.analysis.verdict import verdict
from epsearch.report.html.rendering import render


def probe_html(result: ProbeResult) -> str:
    """The range, why the paper's differs, and the share of ẑ above each power of ten in it."""
    return render(
        "probe.html.j2",
        low=label("eps", result.range.lower),
        high=label("eps", result.range.upper),
        optimizer=one_line(result.optimizer, 60),
        layers=len(result.layers),
        explained=explain_ranges(result),
        columns=["ε", "share of ẑ above it"],
        rows=[[label("eps", eps), percent(result.adaptive_fraction(eps))] for eps in result.range.grid()],
    )


def outcome_html(outcome: Outcome) -> str:
    """The verdict, the best trials, and the path of the report."""
    sign = 1 if outcome.goal == "maximize" else -1
    complete = [trial for trial in outcome.trials if trial.state == "complete" and trial.value is not None]
    best = sorted(complete, key=lambda trial: -sign * (trial.value or 0.0))[:5]
    found = verdict(outcome)
    return render(
        "outcome.html.j2",
        name=one_line(outcome.name, 60),
        headline=found.headline,
        line=found.line,
        columns=["optimizer", "at", one_line(outcome.metric, 60)],
        rows=[[trial.optimizer, describe_cell(trial), measured(trial)] for trial in best],
        trials=len(outcome.trials),
        report=str(outcome.directory / "report.html"),
    )
