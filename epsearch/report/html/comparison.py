"""Several runs side by side on one page, such as the pairs of Fig. 6."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from epsearch.core.errors import UserError
from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label, percent
from epsearch.records.outcome import Outcome
from epsearch.records.text import describe_cell, measured
from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.colors import colors_of
from epsearch.report.figures.drawable import drawable
from epsearch.report.figures.maps import plot_map, searched
from epsearch.report.figures.text import plotly_text
from epsearch.report.html.page import document

COLUMNS = (
    "run",
    "optimizer",
    "metric",
    "best",
    "at",
    "range of ε",
    "ẑ above the best ε",
    "verdict",
    "trials",
    "epochs",
)


def comparison(outcomes: Sequence[Outcome]) -> str:
    """The page: a row for each run, the best first, then their maps of α and ε on one color scale.

    Raises:
        UserError: the runs have different metrics or goals.
    """
    judged = {(outcome.metric, outcome.goal) for outcome in outcomes}
    if len(judged) > 1:
        ways = [f"{outcome.directory}: {one_line(outcome.metric, 60)}, {outcome.goal}" for outcome in outcomes]
        metrics = one_line(listed(ways), 400)
        raise UserError(f"Runs with different metrics cannot be compared ({metrics}).")
    ordered = sorted(outcomes, key=_rank)
    maps = {f"map-{index}": figure for index, figure in enumerate(_maps(ordered))}
    drawn = drawable(maps, (trial.value or 0.0 for outcome in ordered for trial in outcome.trials))
    return document(
        "comparison.html.j2",
        f"{len(outcomes)} runs side by side",
        drawn,
        heading=f"{count(len(outcomes), 'run')} side by side",
        summary=won(ordered),
        columns=COLUMNS,
        rows=(_row(outcome, ordered) for outcome in ordered),
        text=(0, 1, 2, 4, 7),
    )


def won(outcomes: Sequence[Outcome]) -> str:
    """Which run is best, and which others tie with it within the noise of its verdict."""
    first, *others = ordered = sorted(outcomes, key=_rank)
    if first.best is None or first.best.value is None:
        return "No trial is complete yet."
    at = describe_cell(first.best)
    text = f"{_name(first, ordered)} is best: {one_line(first.metric, 60)} {measured(first.best)} with {at}."
    tolerance = verdict(first).tolerance
    if tolerance is None:
        return f"{text} Its study is too small to rule out chance."
    values = ((other, other.best.value) for other in others if other.best is not None and other.best.value is not None)
    equal = [_name(other, ordered) for other, value in values if abs(first.best.value - value) <= tolerance]
    if not equal:
        return text
    return f"{text} Tied within {tolerance:.2g}: {listed(equal)}."


def _rank(outcome: Outcome) -> tuple[bool, float]:
    value = outcome.best.value if outcome.best is not None else None
    sign = -1 if outcome.goal == "maximize" else 1
    return value is None, sign * (value or 0.0)


def _name(outcome: Outcome, among: Sequence[Outcome]) -> str:
    """The study's name, with its directory if several runs share the name."""
    twice = sum(other.name == outcome.name for other in among) > 1
    return one_line(f"{outcome.name} ({outcome.directory.name})" if twice else outcome.name, 60)


def _row(outcome: Outcome, among: Sequence[Outcome]) -> list[str]:
    best, probe = outcome.best, outcome.probe
    share = percent(probe.adaptive_fraction(best.eps)) if probe is not None and best is not None and best.eps else ""
    return [
        _name(outcome, among),
        outcome.optimizer,
        one_line(outcome.metric, 60),
        measured(best) if best is not None else "",
        describe_cell(best) if best is not None else "",
        f"{label('eps', probe.range.lower)} to {label('eps', probe.range.upper)}" if probe is not None else "given",
        share,
        verdict(outcome).kind,
        str(len(outcome.trials)),
        str(sum(trial.epochs for trial in outcome.trials)),
    ]


def _maps(outcomes: Sequence[Outcome]) -> list[go.Figure]:
    """The map of α and ε of each run that has one, all on one color scale."""
    trials = [trial for outcome in outcomes for trial in searched(outcome)]
    values = [trial.value for trial in trials if trial.state == "complete" and trial.value is not None]
    colors = colors_of(values, outcomes[0].goal)
    found = []
    for outcome in outcomes:
        if (figure := plot_map(outcome, "lr", "eps", colors)) is not None:
            figure.layout.title.text = f"{plotly_text(_name(outcome, outcomes))}: {figure.layout.title.text}"
            found.append(figure)
    return found
