"""Draws the first screen's figure: ẑ, the map of lr and ε, and the best value of each ε, on one axis of ε."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from epsearch.core.numbers import SYMBOLS, brief, label, number, rounded
from epsearch.records.epsilon import power_of_ten
from epsearch.report.figures.axes import AXIS_TITLES
from epsearch.report.figures.colors import BETTER
from epsearch.report.figures.landscape import AtEps, LandscapeInfo
from epsearch.report.figures.landscape_map import draw_map, edges_of_cells, logs_of, reach_of_lr
from epsearch.report.figures.scale import Scale
from epsearch.report.figures.style import ACCENT, BLUE, GREY, LIGHT, MARKS, TITLE_ROOM
from epsearch.report.figures.text import plotly_text

HEIGHT = 470
"""Height in pixels without the title: with the verdict above, it fits a screen of 800."""

FAR = 3.0
"""Values beside the map are drawn to so many times the scale's length; an axis that reaches further hides the rest."""

PHONE_HEIGHT = 620

PHONE_COLUMNS = 6
"""Cells in whose width three digits can be read on a phone."""

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
    _lay_out(figure, info)
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
    places = [_along(scale, row.value) for row in info.rows]
    logs = logs_of([row.eps for row in info.rows])
    traces = []
    if info.band and len(info.rows) > 1:
        ends = [sorted((_along(scale, row.low), _along(scale, row.high))) for row in info.rows]
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
                x=[_along(scale, row.tried or 0.0) for row in some],
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


def _along(scale: Scale, value: float) -> float:
    """The position of a value beside the map, which rises with the value."""
    place = min(max(scale.place(value), -FAR), FAR)
    return place if scale.goal == "maximize" else -place


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
        at = _along(info.scale, info.baseline)
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
        at = _along(info.scale, info.baseline)
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


def _lay_out(figure: go.Figure, info: LandscapeInfo) -> None:
    """The axes of the panels side by side, and their places on a phone."""
    left = 0.14 if len(info.shares) else 0.0
    ends = 0.015 if left else 0.0
    first, last = math.ceil(info.reach[0]), math.floor(info.reach[1])
    decades = list(range(first, last + 1, max(1, math.ceil((last - first) / 16))))
    eps = {
        "range": list(info.reach),
        "tickvals": decades,
        "ticktext": [label("eps", power_of_ten(decade)) for decade in decades],
        "showgrid": False,
    }
    lrs = reach_of_lr(info)
    span = range(math.ceil(lrs[0]), math.floor(lrs[1]) + 1, max(1, math.ceil((lrs[1] - lrs[0]) / 9)))
    named = [power_of_ten(power) for power in span]
    if info.cells is not None and len(info.cells.xs) <= PHONE_COLUMNS:
        named = list(info.cells.xs)
    shown = _beside(info)
    ticks = info.scale.ticks(3, shown) if info.scale is not None and shown else []
    sign = 1 if info.scale is not None and info.scale.goal == "maximize" else -1
    metric = plotly_text(info.metric, 30)
    small = {"tickangle": 0, "title": {"standoff": 6}}
    figure.update_layout(
        xaxis={
            **small,
            "domain": [0, left],
            "autorange": "reversed",
            "tickformat": ".0%",
            "nticks": 3,
            "showgrid": False,
            "visible": bool(left),
            "title": {"text": "share of ẑ", "standoff": 6},
        },
        xaxis2={
            "domain": [left + ends, 0.72],
            "range": list(lrs),
            "tickangle": 0,
            "tickvals": logs_of(named),
            "ticktext": [rounded("lr", lr) for lr in named],
            "showgrid": info.cells is None,
            "title": {"text": AXIS_TITLES["lr"], "standoff": 6},
        },
        xaxis3={
            "domain": [0.76, 1],
            "anchor": "y2",
            "range": _reach_beside(info, shown),
            "tickangle": 0,
            "tickvals": [sign * place for place, _ in ticks],
            "ticktext": [text for _, text in ticks],
            "visible": bool(info.rows),
            "title": {"text": f"best {metric} at each ε", "standoff": 6},
        },
        yaxis={**eps, "anchor": "x", "title": {"text": "ε, and ẑ on the same axis" if left else AXIS_TITLES["eps"]}},
        yaxis2={**eps, "anchor": "x3", "matches": "y", "showticklabels": False},
    )
    middle, width = (left + ends + 0.72) / 2, 0.72 - left - ends
    figure.update_layout(
        coloraxis={"colorbar": {"x": middle, "len": 0.8 * width}}, meta={"phone": _phone(figure, info)}
    )


def _beside(info: LandscapeInfo) -> list[float]:
    """The values beside the map: those of each ε, and the baseline's unless it did not learn."""
    values = [value for row in info.rows for value in (row.value, row.tried) if value is not None]
    learned = info.baseline is not None and info.scale is not None and info.scale.learns(info.baseline)
    return [*values, info.baseline] if learned and info.baseline is not None else values


def _reach_beside(info: LandscapeInfo, shown: Sequence[float]) -> list[float]:
    """The ends of the axis beside the map: `shown`, and the bands near them; wider ones are cut off."""
    if info.scale is None or not shown:
        return [0.0, 1.0]
    places = [_along(info.scale, value) for value in shown]
    low, high = min(places), max(places)
    room = max(high - low, 0.02) / 2
    bands = [_along(info.scale, value) for row in info.rows for value in (row.low, row.high)]
    low, high = max(min([low, *bands]), low - room), min(max([high, *bands]), high + room)
    return [low - room / 5, high + room / 5]


def _phone(figure: go.Figure, info: LandscapeInfo) -> dict[str, Any]:
    """The best values below the map instead of beside it, no scale, and no numbers that cannot be read."""
    left = 0.17 if len(info.shares) else 0.0
    layout: dict[str, Any] = {
        "height": PHONE_HEIGHT,
        "margin.b": 10,
        "coloraxis.showscale": False,
        "xaxis.domain": [0, left],
        "xaxis.title.text": "ẑ",
        "xaxis.showticklabels": False,
        "xaxis2.domain": [left + 0.02, 1],
        "yaxis.title.text": "ε",
        "yaxis.domain": [0.45, 1],
    }
    if info.rows:
        layout |= {"xaxis3.domain": [0, 1], "yaxis2.domain": [0, 0.29], "yaxis2.showticklabels": True}
    else:
        layout |= {"height": PHONE_HEIGHT * 0.6, "yaxis.domain": [0, 1]}
    narrow = info.cells is not None and len(info.cells.xs) > PHONE_COLUMNS
    bare = [index for index, trace in enumerate(figure.data) if narrow and getattr(trace, "texttemplate", None)]
    return {"layout": layout, "bare": bare}
