"""The probed range of ε next to ranges searched without a probe (Table 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from epsearch.core.numbers import count, label, rounded
from epsearch.records.epsilon import EpsilonRange, power_of_ten
from epsearch.report.figures.style import ACCENT, BLUE, GREY, INK, LIGHT
from epsearch.report.figures.text import plotly_text

SEARCHED = {
    "Wang et al. 2021": EpsilonRange(lower=1e-16, upper=1e-5),
    "Choi et al. 2019": EpsilonRange(lower=1e-10, upper=1e10),
}
"""Ranges searched in the literature for Adam: [31] and [6] of the paper, as in its Table 3."""

LITERATURE = max(len(searched.grid()) for searched in SEARCHED.values())
"""Number of powers of ten in the widest of them."""

OURS = "this study's probe"


@dataclass(frozen=True)
class LiteratureInfo:
    """Ranges of ε by source, the probe's first, and the best ε found (or None)."""

    ranges: dict[str, EpsilonRange]
    optimizer: str
    best: float | None


def literature_info(found: EpsilonRange, optimizer: str, best: float | None = None) -> LiteratureInfo:
    """The range `found` for `optimizer` next to those of the literature."""
    return LiteratureInfo({OURS: found, **SEARCHED}, optimizer, best or None)


def plot_literature(info: LiteratureInfo) -> go.Figure:
    """A bar for each range over powers of ten, with the number of values in it; a dashed line at the best ε."""
    names = list(info.ranges)
    figure = go.Figure(layout={"template": LIGHT, "height": 330})
    for name, searched in info.ranges.items():
        low, high = math.log10(searched.lower), math.log10(searched.upper)
        reach = f"{label('eps', searched.lower)} to {label('eps', searched.upper)}"
        figure.add_trace(
            go.Bar(
                # Keeps a range of a single power of ten visible.
                base=[low - 0.2],
                x=[high - low + 0.4],
                y=[name],
                orientation="h",
                width=0.5,
                marker={"color": BLUE if name == OURS else GREY},
                text=count(len(searched.grid()), "power") + " of ten",
                textposition="inside" if high - low > 6 else "outside",
                insidetextanchor="middle",
                insidetextfont={"color": INK},
                hovertext=f"{name}: {reach}",
                hoverinfo="text",
                showlegend=False,
            )
        )
    if info.best is not None:
        figure.add_vline(
            math.log10(info.best),
            line={"color": ACCENT, "dash": "dash", "width": 2},
            annotation={"text": f"best ε {rounded('eps', info.best)}", "yanchor": "bottom"},
            annotation_position="top",
        )
    ends = [math.log10(end) for searched in info.ranges.values() for end in (searched.lower, searched.upper)]
    ticks = [tick for tick in range(-40, 41, 4) if min(ends) - 1 <= tick <= max(ends) + 1]
    figure.update_layout(
        title={
            "text": f"Values of ε to try for {plotly_text(info.optimizer)}",
            "subtitle": {"text": "beside ranges searched for Adam without a probe (Table 3)"},
        },
        xaxis={
            "title": {"text": "ε (eps)"},
            "tickvals": ticks,
            "ticktext": [label("eps", power_of_ten(tick)) for tick in ticks],
            "range": [min(ends) - 1, max(ends) + 1],
        },
        yaxis={"categoryorder": "array", "categoryarray": names[::-1]},
    )
    return figure
