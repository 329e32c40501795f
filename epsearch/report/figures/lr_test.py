"""The curve of a learning-rate test: the loss over lr, and what is read from it."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from epsearch.core.averages import smoothed
from epsearch.core.messages import one_line
from epsearch.core.numbers import number, rounded
from epsearch.records.lr_test import LrTest
from epsearch.report.figures.axes import log_axis
from epsearch.report.figures.style import ACCENT, BLUE, GREY, LIGHT
from epsearch.report.figures.text import plotly_text

REASON_LENGTH = 160
"""Longest reason to show, in characters."""


@dataclass(frozen=True)
class LrTestInfo:
    """The loss of each step and the smoothed loss over `lrs`; the suggestion and the bounds of the search."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    low: float
    high: float
    title: str
    reason: str


def lr_test_info(test: LrTest) -> LrTestInfo:
    """What to draw of a test."""
    at = f" at ε {rounded('eps', test.eps)}" if test.eps is not None else ""
    return LrTestInfo(
        lrs=tuple(test.lrs),
        losses=tuple(test.losses),
        smoothed=tuple(smoothed(test.losses)),
        suggestion=test.suggestion,
        low=test.low,
        high=test.high,
        title=f"Learning-rate test of {one_line(test.optimizer, 60)}{at}",
        reason=test.reason,
    )


def plot_lr_test(info: LrTestInfo) -> go.Figure:
    """The losses faint, the smoothed loss bold, a line at the suggestion and a shaded box between its bounds."""
    figure = go.Figure(layout={"template": LIGHT, "height": 440})
    figure.add_vrect(x0=info.low, x1=info.high, fillcolor=GREY, opacity=0.15, line_width=0, layer="below")
    if info.suggestion is not None:
        figure.add_vline(x=info.suggestion, line={"color": ACCENT, "width": 2})
    hover = [f"lr {rounded('lr', lr)}<br>loss {number(loss)}" for lr, loss in zip(info.lrs, info.losses, strict=True)]
    figure.add_trace(
        go.Scatter(
            x=info.lrs,
            y=info.losses,
            mode="lines+markers",
            line={"color": GREY, "width": 1},
            marker={"size": 4},
            opacity=0.6,
            name="loss of each step",
            hovertext=hover,
            hoverinfo="text",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=info.lrs,
            y=info.smoothed,
            mode="lines",
            line={"color": BLUE, "width": 3},
            name="smoothed",
            hoverinfo="skip",
        )
    )
    found = f"suggested: {rounded('lr', info.suggestion)}" if info.suggestion is not None else "no suggestion"
    between = f"search {rounded('lr', info.low)} to {rounded('lr', info.high)}"
    figure.update_layout(
        title={
            "text": plotly_text(info.title, REASON_LENGTH),
            "subtitle": {"text": f"{found}, {between}: {plotly_text(info.reason, REASON_LENGTH)}"},
        },
        xaxis=log_axis("lr", [*info.lrs, info.low, info.high]),
        yaxis={"title": {"text": "training loss"}, "range": list(_loss_range(info))},
    )
    return figure


def _loss_range(info: LrTestInfo) -> tuple[float, float]:
    """Around the fall of the loss; where it explodes, the curve may leave the figure."""
    start, least = max(info.smoothed[:10]), min(info.smoothed)
    room = max(start - least, 0.05 * abs(start)) or 1.0
    return min(*info.losses, least) - 0.1 * room, start + room
