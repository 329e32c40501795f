"""The axes of the first screen's figure: three panels side by side, and their places on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from epsearch.core.numbers import label, rounded
from epsearch.records.epsilon import power_of_ten
from epsearch.report.figures.axes import AXIS_TITLES
from epsearch.report.figures.landscape import LandscapeInfo
from epsearch.report.figures.landscape_map import logs_of, reach_of_lr
from epsearch.report.figures.scale import Scale
from epsearch.report.figures.text import plotly_text

FAR = 3.0
"""Values beside the map are drawn to so many times the scale's length; an axis that reaches further hides the rest."""

PHONE_HEIGHT = 620

PHONE_COLUMNS = 6
"""Cells in whose width three digits can be read on a phone."""


def lay_out(figure: go.Figure, info: LandscapeInfo) -> None:
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
    places = [along(info.scale, value) for value in shown]
    low, high = min(places), max(places)
    room = max(high - low, 0.02) / 2
    bands = [along(info.scale, value) for row in info.rows for value in (row.low, row.high)]
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


def along(scale: Scale, value: float) -> float:
    """The position of a value beside the map, which rises with the value."""
    place = min(max(scale.place(value), -FAR), FAR)
    return place if scale.goal == "maximize" else -place
