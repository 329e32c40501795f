"""ẑ over a training: its histogram at several epochs (Figs. 8, 9) and the share above ε (Table 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from epsearch.core.numbers import percent, rounded
from epsearch.records.epsilon import power_of_ten
from epsearch.records.probe import ProbeHistory
from epsearch.report.figures.bins import bins_over, decade_axis, edges_of, shares_of
from epsearch.report.figures.style import ACCENT, BLUE, LIGHT, TITLE_ROOM, shades

SHOWN = 6
"""Most epochs to show histograms of: the first, the last, and some between."""

NEARLY = 1e-3
"""Shares closer than this to 0 or 1 count as 0 or 1."""

ROW, GAP = 64, 28
"""Pixels of one epoch's histogram, and of the line of text above it."""


@dataclass(frozen=True)
class HistoryInfo:
    """Histograms over log10 ẑ.

    `edges` (bins + 1) are log10 of the bins' edges. `shares` (epochs × bins) is the share of all elements in each
    bin after each of `epochs`; each row sums to 1 minus its share of exact zeros. `above` (epochs) is the share
    above `eps`, the ε to mark, or None. `whose` names the training in the title.
    """

    edges: npt.NDArray[np.float64]
    epochs: tuple[int, ...]
    shares: npt.NDArray[np.float64]
    eps: float | None
    above: tuple[float, ...]
    whose: str


def history_info(history: ProbeHistory, whose: str = "the training", most: int = SHOWN) -> HistoryInfo:
    """Choose at most `most` evenly spaced epochs, with histograms on common bins that also cover ε."""
    count = len(history.epochs)
    chosen = [history.epochs[round(place)] for place in np.linspace(0, count - 1, min(most, count))]
    bins = bins_over([reading.histogram for reading in chosen], [history.eps] if history.eps else [])
    return HistoryInfo(
        edges=edges_of(bins),
        epochs=tuple(reading.epoch for reading in chosen),
        shares=np.array([shares_of(reading.histogram, bins) for reading in chosen]),
        eps=history.eps,
        above=tuple(reading.histogram.above(history.eps) for reading in chosen) if history.eps else (),
        whose=whose,
    )


def plot_history(info: HistoryInfo) -> go.Figure:
    """A row of bars for each epoch, on one scale, with a dashed line at ε."""
    rows = len(info.epochs)
    body = rows * ROW + (rows - 1) * GAP
    figure = make_subplots(rows=rows, shared_xaxes=True, vertical_spacing=GAP / body)
    centres = (info.edges[:-1] + info.edges[1:]) / 2
    span = [f"{10**low:.2g} to {10**high:.2g}" for low, high in zip(info.edges, info.edges[1:], strict=False)]
    above = [f" · {percent(share)} above ε" for share in info.above] or [""] * rows
    for row, (epoch, shares, text) in enumerate(zip(info.epochs, info.shares, above, strict=True), start=1):
        figure.add_trace(
            go.Bar(
                x=centres,
                y=shares.astype(np.float32),
                marker={"color": BLUE, "line": {"width": 0}},
                customdata=span,
                hovertemplate=f"epoch {epoch}: %{{y:.2%}} of all elements<br>ẑ %{{customdata}}<extra></extra>",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
        figure.add_annotation(
            text=f"epoch {epoch}{text}",
            xref="paper",
            yref=f"y{row if row > 1 else ''} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
        )
    if info.eps is not None:
        _draw_eps(figure, info.eps)
    figure.update_layout(
        template=LIGHT,
        height=TITLE_ROOM + 75 + body + 60,
        bargap=0,
        margin={"t": TITLE_ROOM + 75, "b": 60},
        title={"text": f"Denominator terms ẑ over {info.whose}", "subtitle": {"text": _caption(info)}},
    )
    figure.update_xaxes(**decade_axis(info.edges))
    figure.update_xaxes(title={"text": "denominator term ẑ"}, row=rows)
    # One scale for all, to show histograms getting narrower or emptier.
    figure.update_yaxes(range=[0, 1.05 * (info.shares.max() or 1)], tickformat=".0%", nticks=3)
    return figure


def _caption(info: HistoryInfo) -> str:
    if info.eps is None:
        return "share of all elements in each bin"
    shares = zip(info.above, info.epochs, strict=True)
    parts = [f"{percent(share)} after epoch {epoch}" for share, epoch in shares]
    return f"share of all elements above ε: {', '.join(parts[:: max(1, len(parts) - 1)])}"


def _draw_eps(figure: go.Figure, eps: float) -> None:
    """Draw a labeled dashed vertical line over all rows."""
    x = math.log10(eps)
    line = {"color": ACCENT, "dash": "dash", "width": 2}
    figure.add_shape(type="line", xref="x", yref="paper", x0=x, x1=x, y0=0, y1=1, line=line)
    figure.add_annotation(
        xref="x",
        yref="paper",
        x=x,
        y=1,
        yanchor="bottom",
        yshift=20,
        showarrow=False,
        text=f"ε {rounded('eps', eps)}",
    )


@dataclass(frozen=True)
class FractionInfo:
    """Table 2 for every epoch: `shares` (epochs × eps) of all elements of ẑ above each ε.

    `eps` are ascending powers of ten, from one below nearly all of ẑ to one above nearly all, and `used`, the ε used in
    training (None if the optimizer has none). `whose` names the training in the title.
    """

    epochs: tuple[int, ...]
    eps: tuple[float, ...]
    shares: npt.NDArray[np.float64]
    used: float | None
    whose: str


def fraction_info(history: ProbeHistory, whose: str = "the training") -> FractionInfo:
    """The adaptive fraction by ε and epoch."""
    eps = sorted({*_informative(history), *([history.eps] if history.eps else [])})
    return FractionInfo(
        epochs=tuple(reading.epoch for reading in history.epochs),
        eps=tuple(eps),
        shares=np.array([history.adaptive_fraction(each) for each in eps]).T,
        used=history.eps,
        whose=whose,
    )


def _informative(history: ProbeHistory) -> list[float]:
    """The powers of ten that part of ẑ is above, in any epoch, and one to each side.

    The probed range is not used: a bias of a few elements can stretch it by many empty decades.
    """
    bins = bins_over([reading.histogram for reading in history.epochs], [])
    lowest, highest = math.floor(edges_of(bins)[0]), math.ceil(edges_of(bins)[-1])
    decades = [power_of_ten(decade) for decade in range(lowest, highest + 1)]
    shares = [history.adaptive_fraction(eps) for eps in decades]
    low = max((index for index, share in enumerate(shares) if min(share) >= 1 - NEARLY), default=0)
    high = min((index for index, share in enumerate(shares) if max(share) <= NEARLY), default=len(decades) - 1)
    return decades[low : high + 1]


def plot_fractions(info: FractionInfo) -> go.Figure:
    """A line over the epochs for each ε, dashed and thick for the ε in use."""
    figure = go.Figure(layout={"template": LIGHT, "height": 420})
    few = len(info.epochs) <= 40
    for eps, color, shares in zip(info.eps, shades(len(info.eps)), info.shares.T, strict=True):
        used = eps == info.used
        name = f"ε {rounded('eps', eps)}"
        figure.add_trace(
            go.Scatter(
                x=info.epochs,
                y=shares,
                mode="lines+markers" if few else "lines",
                line={"color": ACCENT, "dash": "dash", "width": 3} if used else {"color": color},
                name=f"{name} (in use)" if used else name,
                customdata=[percent(share) for share in shares],
                hovertemplate=f"{name}: %{{customdata}} of ẑ above<br>after epoch %{{x}}<extra></extra>",
            )
        )
    figure.update_layout(
        title={
            "text": f"Adaptive share of ẑ over {info.whose}",
            "subtitle": {"text": "elements of ẑ above ε: 100% is fully adaptive, 0% fully immutable, like SGD"},
        },
        yaxis={"range": [-0.03, 1.03], "tickformat": ".0%", "title": {"text": "share of ẑ above ε"}},
    )
    # No ticks at fractions of an epoch.
    step = max(1, math.ceil((info.epochs[-1] - info.epochs[0]) / 10))
    figure.update_xaxes(title={"text": "epochs trained"}, dtick=step, tick0=info.epochs[0])
    return figure
