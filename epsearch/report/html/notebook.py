"""How a probe's result and a study's outcome show themselves in a notebook: a few lines of HTML, no script."""

from __future__ import annotations

from html import escape

from epsearch.core.messages import one_line
from epsearch.core.numbers import label, percent
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.records.text import measured, place
from epsearch.report.analysis.verdict import verdict
from epsearch.report.html.page import table


def probe_html(result: ProbeResult) -> str:
    """The range, and the share of ẑ above each of its powers of ten."""
    low, high = result.range.lower, result.range.upper
    shares = [[label("eps", eps), percent(result.adaptive_fraction(eps))] for eps in result.range.grid()]
    return (
        f"<p><b>Range of ε: {label('eps', low)} to {label('eps', high)}</b> ({escape(one_line(result.optimizer, 60))}, "
        f"{len(result.layers)} layers)</p>{table(['ε', 'share of ẑ above it'], shares, text=set())}"
    )


def outcome_html(outcome: Outcome) -> str:
    """The verdict, the best trials, and where the report is."""
    sign = 1 if outcome.goal == "maximize" else -1
    complete = [trial for trial in outcome.trials if trial.state == "complete" and trial.value is not None]
    best = sorted(complete, key=lambda trial: -sign * (trial.value or 0.0))[:5]
    rows = [[trial.optimizer, place(trial), measured(trial)] for trial in best]
    return (
        f"<p><b>{escape(one_line(outcome.name, 60))}: {escape(verdict(outcome).headline)}</b></p>"
        f"{table(['optimizer', 'at', one_line(outcome.metric, 60)], rows, text={0, 1})}"
        f"<p>{len(outcome.trials)} trials; all of them in {escape(str(outcome.directory / 'report.html'))}</p>"
    )
