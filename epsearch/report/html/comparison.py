"""Several runs side by side on one page: optimizers, models or seeds of one's choice (the pairs of Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import plotly.graph_objects as go

from epsearch.core.errors import UserError
from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label, percent
from epsearch.records.outcome import Outcome
from epsearch.records.text import measured, place
from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.axes import is_grid
from epsearch.report.figures.colours import colours_of
from epsearch.report.figures.drawable import drawable
from epsearch.report.figures.gallery import say_what_is_left_out
from epsearch.report.figures.heatmap import heatmap_info, plot_heatmap
from epsearch.report.figures.scatter import plot_scatter, scatter_info
from epsearch.report.html.page import document, place_of, table

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
    """The page: a row for each run, the best first, then their maps of α and ε on one scale of colours.

    Raises:
        UserError: they were judged by different metrics or goals, so that no order is.
    """
    judged = {(outcome.metric, outcome.goal) for outcome in outcomes}
    if len(judged) > 1:
        ways = [f"{outcome.directory}: {one_line(outcome.metric, 60)}, {outcome.goal}" for outcome in outcomes]
        metrics = one_line(listed(ways), 400)
        raise UserError(f"Runs that were judged by different metrics cannot be compared ({metrics}).")
    ordered = sorted(outcomes, key=_rank)
    maps = {f"map-{index}": figure for index, figure in enumerate(_maps(ordered))}
    drawn = drawable(maps, (trial.value or 0.0 for outcome in ordered for trial in outcome.trials))
    head = f"<h1>{count(len(outcomes), 'run')} side by side</h1><p>{escape(_won(ordered))}</p>"
    rows = table(COLUMNS, (_row(outcome, ordered) for outcome in ordered), text={0, 1, 2, 4, 7})
    places = [place_of(name, figure) for name, figure in drawn.items()]
    return document(f"{len(outcomes)} runs side by side", [head, rows, *places], drawn)


def _won(ordered: Sequence[Outcome]) -> str:
    """Which run has the best value, and which others have as good a one by the tolerance of its verdict."""
    first, *others = ordered
    if first.best is None or first.best.value is None:
        return "No trial is complete yet."
    metric = one_line(first.metric, 60)
    text = f"{_name(first, ordered)} is best: {metric} {measured(first.best)} with {place(first.best)}."
    tolerance = verdict(first).tolerance
    if tolerance is None:
        return f"{text} Its study is too small to tell whether by more than chance."
    values = ((other, other.best.value) for other in others if other.best is not None and other.best.value is not None)
    equal = [_name(other, ordered) for other, value in values if abs(first.best.value - value) <= tolerance]
    if not equal:
        return text
    return f"{text} Within {tolerance:.2g} of it, which counts as no difference: {listed(equal)}."


def _rank(outcome: Outcome) -> tuple[bool, float]:
    value = outcome.best.value if outcome.best is not None else None
    sign = -1 if outcome.goal == "maximize" else 1
    return value is None, sign * (value or 0.0)


def _name(outcome: Outcome, among: Sequence[Outcome]) -> str:
    """The study's name, and its directory's too where two have one name."""
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
        place(best) if best is not None else "",
        f"{label('eps', probe.range.lower)} to {label('eps', probe.range.upper)}" if probe is not None else "given",
        share,
        verdict(outcome).kind,
        str(len(outcome.trials)),
        str(sum(trial.epochs for trial in outcome.trials)),
    ]


def _maps(outcomes: Sequence[Outcome]) -> list[go.Figure]:
    arms = [[trial for trial in outcome.trials if trial.optimizer == outcome.optimizer] for outcome in outcomes]
    values = [trial.value for arm in arms for trial in arm if trial.state == "complete" and trial.value is not None]
    colours = colours_of(values, outcomes[0].goal)
    found = []
    for outcome, arm in zip(outcomes, arms, strict=True):
        if not any({"lr", "eps"} <= trial.cell.keys() for trial in arm):
            continue
        if is_grid(arm, "lr") and is_grid(arm, "eps"):
            info = heatmap_info(arm, "lr", "eps", goal=outcome.goal, metric=outcome.metric)
            figure = plot_heatmap(replace(info, colours=colours if info.colours is not None else None))
        else:
            points = scatter_info(arm, "lr", "eps", goal=outcome.goal, metric=outcome.metric)
            figure = plot_scatter(replace(points, colours=colours if points.colours is not None else None))
        figure.layout.title.text = f"{escape(_name(outcome, outcomes))}: {figure.layout.title.text}"
        say_what_is_left_out(figure, outcome)
        found.append(figure)
    return found
