"""Histograms of the denominator terms ẑ, by layer and pooled, with the range of ε (Figs. 8, 9 and 12)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from epsearch.core.messages import one_line
from epsearch.core.numbers import percent, rounded
from epsearch.records.outliers import far_ends
from epsearch.records.probe import ProbeResult
from epsearch.report.figures.bins import bins_over, decade_axis, edges_of, shares_of
from epsearch.report.figures.style import ACCENT, BLUE, GREY, LIGHT, TITLE_ROOM
from epsearch.report.figures.text import plotly_text

AROUND = 355
"""Height in pixels of everything but the layers: titles, the bars of all elements, the axis."""

STRIP = 720
"""Greatest height in pixels of all layers together; a layer takes up to 18."""

LINE = 16
"""Height in pixels of a name above the plots."""


@dataclass(frozen=True)
class HistogramInfo:
    """Histograms over log10 ẑ.

    `edges` (bins + 1) are log10 of the bins' edges. `shares` (layers × bins) is the share of a layer's
    elements in each bin, `pooled` (bins) that of all elements; each sums to 1 minus its share of exact zeros. `p2` and
    `p98` are log10 of each layer's percentiles, NaN where nothing was measured. `eps` is the ε to mark,
    or None; `above` gives the share of all elements above `lower`, `upper` and `eps`. `paper` are the ends of Algorithm
    2's range that are far from those of a pooled one. `eps_name` is written at the line of `eps`.
    """

    edges: npt.NDArray[np.float64]
    names: tuple[str, ...]
    shares: npt.NDArray[np.float64]
    pooled: npt.NDArray[np.float64]
    p2: npt.NDArray[np.float64]
    p98: npt.NDArray[np.float64]
    percentiles: tuple[float, float]
    lower: float
    upper: float
    eps: float | None
    above: dict[float, float]
    paper: tuple[float, ...] = ()
    eps_name: str = "best ε"


def histogram_info(result: ProbeResult, eps: float | None = None, eps_name: str = "best ε") -> HistogramInfo:
    """Put the probe's histograms on common bins that also cover the range and `eps`, which is marked by its name."""
    pooled = result.histogram
    lines = [result.range.lower, result.range.upper, *([eps] if eps else [])]
    paper = far_ends(result) if result.range_kind == "pooled" else ()
    bins = bins_over([pooled], [*lines, *paper])
    return HistogramInfo(
        edges=edges_of(bins),
        names=tuple(layer.name for layer in result.layers),
        shares=np.array([shares_of(layer.histogram, bins) for layer in result.layers]),
        pooled=shares_of(pooled, bins),
        p2=np.array([math.log10(layer.p2) if layer.p2 else math.nan for layer in result.layers]),
        p98=np.array([math.log10(layer.p98) if layer.p98 else math.nan for layer in result.layers]),
        percentiles=result.percentiles,
        lower=result.range.lower,
        upper=result.range.upper,
        eps=eps or None,
        above={line: pooled.above(line) for line in lines},
        paper=paper,
        eps_name=eps_name,
    )


def plot_histogram(info: HistogramInfo, strip: int = STRIP) -> go.Figure:
    """All elements as bars above, each layer as a row of a strip below, dashed lines at the range's ends.

    The strip is at most `strip` pixels high; names that do not fit are shown on hover.
    """
    layers = len(info.names)
    strip = min(max(18 * layers, 60), strip)
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=24 / (184 + strip), row_heights=[160, strip])
    centres = (info.edges[:-1] + info.edges[1:]) / 2
    span = [f"{10**low:.2g} to {10**high:.2g}" for low, high in zip(info.edges, info.edges[1:], strict=False)]
    figure.add_trace(
        go.Bar(
            x=centres,
            y=info.pooled.astype(np.float32),
            marker={"color": BLUE, "line": {"width": 0}},
            customdata=span,
            hovertemplate="%{y:.2%} of all elements<br>ẑ %{customdata}<extra></extra>",
            showlegend=False,
        ),
        row=1,
        col=1,
    )
    # Each row is scaled by its own maximum: a bias of 10 elements is spikier than a matrix, not more important.
    # Bytes, because Optuna's dashboard stores figures in the study's storage in rows of 2 kB.
    peaks = info.shares.max(axis=1, keepdims=True, initial=0)
    shades = 255 * np.divide(info.shares, peaks, out=np.zeros_like(info.shares), where=peaks > 0)
    rows = [plotly_text(name, limit=1000) for name in info.names]
    figure.add_trace(
        go.Heatmap(
            x=centres,
            y=rows,
            z=np.ceil(shades).astype(np.uint8),
            zmin=0,
            zmax=255,
            customdata=info.shares.astype(np.float32),
            colorscale=[[0, "rgba(76,120,168,0)"], [1, "rgba(76,120,168,1)"]],
            showscale=False,
            hovertemplate="%{y}<br>%{customdata:.2%} of its elements<br>log10 ẑ %{x:.2f}<extra></extra>",
        ),
        row=2,
        col=1,
    )
    size = min(max(strip / max(layers, 1) / 2, 3), 8)
    low, high = info.percentiles
    for where, side in ((info.p2, "left"), (info.p98, "right")):
        figure.add_trace(
            go.Scatter(
                x=where,
                y=rows,
                mode="markers",
                marker={"symbol": f"triangle-{side}", "size": size, "color": ACCENT},
                name=f"percentiles {low:g} and {high:g} of each layer",
                legendgroup="percentiles",
                showlegend=side == "left",
                hoverinfo="skip",
            ),
            row=2,
            col=1,
        )
    _draw_lines(figure, info)
    _label_axes(figure, info, strip)
    return figure


def _draw_lines(figure: go.Figure, info: HistogramInfo) -> None:
    """Named verticals over both plots: dashed at the ends of the range, dotted at the ε in use and the paper's ends."""
    named = [("ε lower", info.lower, "dash", ACCENT), ("ε upper", info.upper, "dash", ACCENT)]
    if info.eps is not None:
        named.append((info.eps_name, info.eps, "dot", ACCENT))
    named += [("Algorithm 2", end, "dot", GREY) for end in info.paper]
    # At different heights, so that names do not overlap on a phone or at equal ε.
    for height, (name, eps, dash, color) in enumerate(named):
        figure.add_shape(
            type="line",
            xref="x",
            yref="paper",
            x0=math.log10(eps),
            x1=math.log10(eps),
            y0=0,
            y1=1,
            line={"color": color, "dash": dash, "width": 2},
        )
        figure.add_annotation(
            xref="x",
            yref="paper",
            x=math.log10(eps),
            y=1,
            yanchor="bottom",
            yshift=LINE * height,
            showarrow=False,
            text=f"{name} {rounded('eps', eps)}",
        )


def _label_axes(figure: go.Figure, info: HistogramInfo, strip: int) -> None:
    shares = "; ".join(f"{percent(info.above[eps])} above ε = {rounded('eps', eps)}" for eps in sorted(info.above))
    figure.update_layout(
        template=LIGHT,
        height=AROUND + LINE * len(info.paper) + strip,
        bargap=0,
        # Below the plot, since the names of the lines are above it.
        legend={"yref": "container", "y": 0, "yanchor": "bottom", "itemsizing": "constant"},
        margin={"t": TITLE_ROOM + 85 + LINE * len(info.paper), "b": 70},
        title={
            "text": "Denominator terms ẑ and the range of ε",
            "subtitle": {"text": f"of all elements, {shares}"},
        },
    )
    figure.update_xaxes(**decade_axis(info.edges))
    figure.update_xaxes(title={"text": "denominator term ẑ"}, row=2)
    figure.update_yaxes(title={"text": "all elements"}, tickformat=".0%", row=1)
    # Only the names that fit; hovering shows the rest.
    every = max(1, math.ceil(len(info.names) * 14 / strip))
    shown = range(0, len(info.names), every)
    short = short_names(info.names)
    figure.update_yaxes(
        type="category",
        # The first layer on top.
        range=[len(info.names) - 0.5, -0.5],
        tickvals=list(shown),  # categories are counted from 0
        ticktext=[plotly_text(short[index]) for index in shown],
        tickfont={"size": 11},
        showgrid=False,
        row=2,
    )


def short_names(names: Sequence[str], limit: int = 18) -> list[str]:
    """Names cut to `limit` characters: first the modules that all share, then the middle."""
    modules = [name.split(".")[:-1] for name in names]
    shared = len(list(takewhile(lambda level: len(set(level)) == 1, zip(*modules, strict=False))))
    return [_cut(one_line(".".join(name.split(".")[shared:]), limit=1000), limit) for name in names]


def _cut(name: str, limit: int) -> str:
    if len(name) <= limit:
        return name
    head = (limit - 1) // 2
    return f"{name[:head]}…{name[head + 1 - limit :]}"
