"""The trials in the order they were made, and the best value so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.colors import qualitative

from epsearch.labels import number, place, plotly_text
from epsearch.records import Goal, Trial, best_trial
from epsearch.report.cells import CellState, state_of
from epsearch.report.colours import BETTER, Colours, colours_of
from epsearch.report.style import ACCENT, BLUE, LIGHT, MARKS, headline, marker

BASELINE_COLOURS = qualitative.T10[1:]
"""Colours of the baselines, one after another; BLUE is the searched optimizer's."""


@dataclass(frozen=True)
class TimelineInfo:
    """What the figure shows.

    `complete` has the complete trials of each optimizer, the searched one first, `others` the trials that ended in
    another state (a pruned one's value is the best it reached); both by number, which each optimizer counts from 0.
    `improved` are the trials of the searched optimizer that were the best so far when counted in that order, so the
    last of them is the best; `last` is the highest number. `colours` are the ends of the axis of values, None of none.
    """

    complete: Mapping[str, tuple[Trial, ...]]
    others: Mapping[CellState, tuple[Trial, ...]]
    improved: tuple[Trial, ...]
    last: int
    metric: str
    goal: Goal
    colours: Colours | None

    @property
    def ended(self) -> int:
        """How many trials there are to show."""
        return sum(map(len, (*self.complete.values(), *self.others.values())))


def timeline_info(trials: Sequence[Trial], optimizer: str, *, goal: Goal, metric: str) -> TimelineInfo:
    """Sort the trials that ended by state; those of other optimizers than `optimizer` are baselines."""
    complete: dict[str, list[Trial]] = {optimizer: []}
    others: dict[CellState, list[Trial]] = {}
    improved: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        state = state_of(trial)
        if state == "complete":
            complete.setdefault(trial.optimizer, []).append(trial)
            if trial.optimizer == optimizer and best_trial([*improved[-1:], trial], goal) is trial:
                improved.append(trial)
        elif state != "missing":
            others.setdefault(state, []).append(trial)
    ended = [trial for some in (*complete.values(), *others.values()) for trial in some]
    measured = [trial for trial in ended if state_of(trial) in ("complete", "pruned")]
    return TimelineInfo(
        complete={arm: tuple(some) for arm, some in complete.items()},
        others={state: tuple(some) for state, some in others.items()},
        improved=tuple(improved),
        last=max((trial.number for trial in ended), default=0),
        metric=metric,
        goal=goal,
        colours=colours_of([trial.value for trial in measured if trial.value is not None], goal),
    )


def plot_timeline(info: TimelineInfo) -> go.Figure:
    """Points by optimizer, a step line at the best so far, other states by their own signs."""
    figure = go.Figure(layout={"template": LIGHT, "height": 420})
    size = 8 if info.ended <= 200 else 5 if info.ended <= 2000 else 3
    for index, (optimizer, trials) in enumerate(info.complete.items()):
        colour = BASELINE_COLOURS[(index - 1) % len(BASELINE_COLOURS)] if index else BLUE
        if trials:
            figure.add_trace(_points(info, trials, {"size": size, "color": colour}, plotly_text(optimizer)))
    for state, mark in MARKS.items():
        if some := info.others.get(state):
            trace = _points(info, some, marker(mark) | {"size": size + 2}, mark.word)
            if state != "pruned":
                # They have no value: they stand on the floor of the plot, on an axis of their own.
                trace.update(y=[0.03] * len(some), yaxis="y2")
            figure.add_trace(trace)
    if info.improved:
        best = info.improved[-1]
        figure.add_trace(
            go.Scatter(
                x=[*(trial.number for trial in info.improved), info.last],
                y=[_height(info, trial) for trial in (*info.improved, best)],
                mode="lines",
                line={"color": ACCENT, "shape": "hv", "width": 2},
                name="best so far",
                hoverinfo="skip",
            )
        )
    metric = plotly_text(info.metric)
    figure.update_layout(
        title=headline(
            f"{metric} of the trials in the order they were made ({BETTER[info.goal]})",
            info.improved[-1] if info.improved else None,
            f"trial {info.improved[-1].number}" if info.improved else "",
            "; far worse values lie on the edge" if info.colours is not None and info.colours.clipped else "",
        ),
        yaxis={"title": {"text": metric}, "range": _reach(info.colours)},
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )
    of_each = " (each optimizer counts its own)" if len(info.complete) > 1 else ""
    # Trials are counted: no tick at 1.5.
    figure.update_xaxes(title={"text": f"trial{of_each}"}, dtick=1 if info.last < 10 else None)
    return figure


def _points(info: TimelineInfo, trials: Sequence[Trial], look: dict[str, object], name: str) -> go.Scatter:
    return go.Scatter(
        x=[trial.number for trial in trials],
        y=[_height(info, trial) for trial in trials],
        mode="markers",
        marker=look,
        name=name,
        text=[_told(trial) for trial in trials],
        hovertemplate="trial %{x}: %{text}<extra></extra>",
    )


def _height(info: TimelineInfo, trial: Trial) -> float | None:
    """Where the trial stands: at its value, or at the end of the axis that the value lies beyond."""
    if trial.value is None or info.colours is None:
        return None
    # Six digits: all of them would double the figure.
    return float(f"{min(max(trial.value, info.colours.low), info.colours.high):.6g}")


def _reach(colours: Colours | None) -> list[float] | None:
    """The ends of the axis, with room below for the trials that have no value."""
    if colours is None or colours.low == colours.high:
        return None
    span = colours.high - colours.low
    return [colours.low - 0.1 * span, colours.high + 0.05 * span]


def _told(trial: Trial) -> str:
    """The label on hover; short, for there may be thousands."""
    state = state_of(trial)
    value = "" if trial.value is None else number(trial.value)
    words = {"complete": value, "pruned": f"pruned at {value}"}.get(state, MARKS[state].word if state in MARKS else "")
    return f"{words}<br>{place(trial)}"
