"""Draws the first screen's figure: ẑ, the map of lr and ε, and the best value of each ε, on one axis of ε."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from epsearch.core.numbers import SYMBOLS, brief, label, number, rounded
from epsearch.report.figures.colors import BETTER
from epsearch.report.figures.landscape import AtEps, LandscapeInfo
from epsearch.report.figures.landscape_layout import along, lay_out
from epsearch.report.figures.landscape_map import draw_map, edges_of_cells, logs_of
from epsearch.report.figures.scale import Scale
from epsearch.report.figures.style import ACCENT, BLUE, GREY, LIGHT, MARKS, TITLE_ROOM
from epsearch.report.figures.text import plotly_text

HEIGHT = 470
"""Height in pixels without the title: with the verdict above, it fits a screen of 800."""

WORDS = {
    "equal": "as good as any",
    "worse": "worse",
    "unknown": "not known to be worse",
    "edge": "best α at an edge of those tried: unknown",
}


def plot_landscape(info: LandscapeInfo) -> go.Figure:
    """The three panels; `layout.meta["phone"]` is what to change where they do not fit side by side."""
    figure = go.Figure()
    if len(info.shares):
        figure.add_trace(_histogram(info))
    figure.add_traces(draw_map(info))
    figure.add_traces(_marks(info))
    if info.scale is not None and info.rows:
        figure.add_traces(_profile(info, info.scale))
    figure.update_layout(
        template=LIGHT,
        height=HEIGHT + TITLE_ROOM,
        margin={"t": TITLE_ROOM + 24, "b": 84, "l": 10, "r": 10},
        bargap=0,
        showlegend=False,
        hovermode="closest",
        dragmode=False,
        title={"text": _title(info), "subtitle": {"text": _caption(info)}},
        shapes=_shapes(info),
        annotations=_annotations(info),
        coloraxis=_color_axis(info),
    )
    lay_out(figure, info)
    return figure


def _histogram(info: LandscapeInfo) -> go.Bar:
    centres = (info.edges[:-1] + info.edges[1:]) / 2
    return go.Bar(
        x=info.shares.astype(np.float32),
        y=centres,
        orientation="h",
        marker={"color": BLUE, "line": {"width": 0}},
        hovertemplate="%{x:.1%} of all elements<br>log10 ẑ %{y:.2f}<extra></extra>",
    )


def _marks(info: LandscapeInfo) -> list[go.Scatter]:
    """The expected ridge, the best trial if it is a point, and the best lr of each ε: hollow at an edge."""
    common: dict[str, Any] = {"xaxis": "x2", "hoverinfo": "skip"}
    traces = []
    if info.ridge:
        lrs, epsilons = zip(*info.ridge, strict=True)
        line = {"color": ACCENT, "width": 1.5, "dash": "dash"}
        traces.append(go.Scatter(x=logs_of(lrs), y=logs_of(epsilons), mode="lines", line=line, **common))
    if info.cells is None and info.best is not None:
        ring = {"size": 20, "symbol": "circle-open", "color": ACCENT, "line": {"width": 2.5}}
        x, y = logs_of([info.best.lr or 1.0, info.best.eps or 1.0])
        traces.append(go.Scatter(x=[x], y=[y], mode="markers", marker=ring, **common))
    # In a corner of the cell, beside its number.
    right, up = (0.34 * _width(info.cells.xs), 0.28 * _width(info.cells.ys)) if info.cells is not None else (0.0, 0.0)
    for edge in (False, True):
        some = [row for row in info.rows if (row.state == "edge") == edge]
        traces.append(
            go.Scatter(
                x=[x + right for x in logs_of(row.lr for row in some)],
                y=[y + up for y in logs_of(row.eps for row in some)],
                xaxis="x2",
                mode="markers",
                marker={
                    "size": 8,
                    "color": "#ffffff" if edge else ACCENT,
                    "line": {"color": ACCENT if edge else "#ffffff", "width": 2 if edge else 1},
                },
                hovertext=[f"best α at ε {label('eps', row.eps)}: {rounded('lr', row.lr)}" for row in some],
                hoverinfo="text",
            )
        )
    return traces


def _width(values: Sequence[float]) -> float:
    """The width of the narrowest cell in decades."""
    edges = edges_of_cells(values)
    return min(high - low for low, high in itertools.pairwise(edges))


def _profile(info: LandscapeInfo, scale: Scale) -> list[go.Scatter]:
    """The best value of each ε in its band; filled where it is equal to the best, grey where it is worse."""
    places = [along(scale, row.value) for row in info.rows]
    logs = logs_of([row.eps for row in info.rows])
    traces = []
    if info.band and len(info.rows) > 1:
        ends = [sorted((along(scale, row.low), along(scale, row.high))) for row in info.rows]
        traces.append(
            go.Scatter(
                x=[low for low, _ in ends] + [high for _, high in reversed(ends)],
                y=[*logs, *reversed(logs)],
                xaxis="x3",
                yaxis="y2",
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor="rgba(76,120,168,0.25)",
                hoverinfo="skip",
            )
        )
    if info.band:
        some = [row for row in info.rows if row.tried is not None]
        traces.append(
            go.Scatter(
                x=[along(scale, row.tried or 0.0) for row in some],
                y=logs_of(row.eps for row in some),
                xaxis="x3",
                yaxis="y2",
                mode="markers",
                marker={"symbol": "line-ns-open", "size": 9, "color": GREY, "line": {"width": 2}},
                hovertext=[f"best trial at ε {label('eps', row.eps)}: {number(row.tried or 0.0)}" for row in some],
                hoverinfo="text",
            )
        )
    fills = {"equal": ACCENT, "worse": GREY, "unknown": "#ffffff", "edge": "#ffffff"}
    traces.append(
        go.Scatter(
            x=places,
            y=logs,
            xaxis="x3",
            yaxis="y2",
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            marker={
                "size": 9,
                "color": [fills[row.state] for row in info.rows],
                "line": {"width": 2, "color": [GREY if row.state == "worse" else ACCENT for row in info.rows]},
            },
            hovertext=[_told(row) for row in info.rows],
            hoverinfo="text",
        )
    )
    return traces


def _told(row: AtEps) -> str:
    band = "" if row.low == row.high else f" ({number(row.low)} to {number(row.high)})"
    return f"ε {label('eps', row.eps)}<br>{number(row.value)}{band}<br>{WORDS[row.state]}"


def _shapes(info: LandscapeInfo) -> list[dict[str, Any]]:
    """The probed range, the best cell outlined, and the best of SGD with momentum."""
    shapes: list[dict[str, Any]] = []
    if info.probed is not None:
        half = 0.5 if info.cells is not None else 0.0
        low, high = logs_of(info.probed)
        ends = low - half, high + half
        band = {"xref": "x domain", "yref": "y", "x0": 0, "x1": 1, "y0": ends[0], "y1": ends[1], "layer": "below"}
        shapes.append({"type": "rect", "fillcolor": "rgba(230,0,126,0.12)", "line": {"width": 0}, **band})
        shapes += [
            _line({"xref": "x2 domain", "yref": "y", "x0": 0, "x1": 1, "y0": end, "y1": end}, ACCENT)
            for end in ends
            # At the map's own ends they would be lost in its frame.
            if info.reach[0] + 0.01 < end < info.reach[1] - 0.01
        ]
    if info.cells is not None and info.cells.best is not None:
        i, j = info.cells.best
        (x0, x1), (y0, y1) = edges_of_cells(info.cells.xs)[j : j + 2], edges_of_cells(info.cells.ys)[i : i + 2]
        cell = {"xref": "x2", "yref": "y", "x0": x0, "x1": x1, "y0": y0, "y1": y1}
        shapes.append({"type": "rect", "line": {"color": ACCENT, "width": 2.5}, **cell})
    if info.baseline is not None and info.scale is not None:
        at = along(info.scale, info.baseline)
        shapes.append(_line({"xref": "x3", "yref": "y2 domain", "x0": at, "x1": at, "y0": 0, "y1": 1}, GREY))
    return shapes


def _line(where: dict[str, Any], color: str) -> dict[str, Any]:
    return {"type": "line", "line": {"color": color, "width": 1.5, "dash": "dot"}, **where}


def _annotations(info: LandscapeInfo) -> list[dict[str, Any]]:
    """Names of what the shapes show, above the panels."""
    common = {"y": 1, "yanchor": "bottom", "showarrow": False, "font": {"size": 12}}
    notes: list[dict[str, Any]] = []
    if info.probed is not None:
        low, high = (label("eps", end) for end in info.probed)
        notes.append({"xref": "x domain", "yref": "y domain", "x": 0.5, "text": f"probed {low} to {high}", **common})
    if info.baseline is not None and info.scale is not None:
        at = along(info.scale, info.baseline)
        text = f"SGD {brief(info.baseline)}"
        notes.append({"xref": "x3", "yref": "y2 domain", "x": at, "text": text, **common})
    return notes


def _color_axis(info: LandscapeInfo) -> dict[str, Any]:
    ticks = info.scale.ticks(4) if info.scale is not None else []
    return {
        "colorscale": "Viridis",
        "cmin": 0,
        "cmax": 1,
        "showscale": len(ticks) > 1,
        "colorbar": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "thickness": 8,
            "outlinewidth": 0,
            "tickvals": [place for place, _ in ticks],
            "ticktext": [text for _, text in ticks],
        },
    }


def _title(info: LandscapeInfo) -> str:
    goal = BETTER[info.scale.goal] if info.scale is not None else "no complete trial yet"
    beside = ", beside the ẑ that the probe measured" if len(info.shares) else ""
    return f"{plotly_text(info.metric)} over {SYMBOLS['lr']} and {SYMBOLS['eps']} ({goal}){beside}"


def _caption(info: LandscapeInfo) -> str:
    """What a cell is, and what the marks on it mean."""
    drawn = info.drawn()
    several = info.cells is not None and len({cell.trial.beta2 for cell in drawn if cell.trial is not None}) > 1
    what = "A point is a trial" if info.cells is None else f"A cell is {'the best over β₂' if several else 'a trial'}"
    parts = [f"{what}: its best epoch, averaged over seeds"]
    if info.rows:
        parts.append("● best α at each ε" + (", estimated" if info.band else ""))
    if any(row.state == "edge" for row in info.rows):
        parts[-1] += " (○ at an edge of those tried)"
    if info.best is not None:
        parts.append("outlined: the best" if info.cells is not None else "ringed: the best")
    if info.ridge:
        parts.append("dashed: expected best α")
    scale = info.scale
    if scale is not None and any(cell.value is not None and not scale.learns(cell.value) for cell in drawn):
        parts.append(f"grey: no better than untrained ({brief(scale.chance or 0.0)})")
    if info.cells is not None:
        states = {cell.state for cell in drawn}
        parts += [f"{mark.sign} {mark.word}" for state, mark in MARKS.items() if state in states]
    if info.band:
        parts.append("right: what each ε reaches, estimated, with its 95 % interval (| its best trial)")
        parts.append("filled where as good as any, grey where worse")
    return "; ".join(parts) + "."
