"""The range of ε that the probe found beside those of the literature (Table 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import plotly.graph_objects as go

from epsearch.labels import count, label, plotly_text
from epsearch.records import EpsilonRange, ProbeResult, power_of_ten
from epsearch.report.axes import AXIS_TITLES
from epsearch.report.style import ACCENT, BLUE, LIGHT, TITLE_ROOM

Source = Literal["found", "tried", "estimated"]


class Row(NamedTuple):
    """One range, named as on the axis; `source` says whose it is."""

    name: str
    range: EpsilonRange
    source: Source


TABLE_3 = (
    # Y. Wang et al., Rethinking Adam: a twofold exponential moving average approach, arXiv:2106.11514.
    Row("Wang et al. 2021", EpsilonRange(lower=1e-16, upper=1e-5), "tried"),
    # D. Choi et al., On empirical comparisons of optimizers for deep learning, arXiv:1910.05446: the first they tried.
    Row("Choi et al. 2019", EpsilonRange(lower=1e-10, upper=1e10), "tried"),
    # G. Silva and P. Rodriguez: CIFAR-10, and Penn TreeBank for the LSTMs.
    Row("VGG", EpsilonRange(lower=1e-6, upper=1e-2), "estimated"),
    Row("DenseNet", EpsilonRange(lower=1e-4, upper=1e-1), "estimated"),
    Row("AlexNet", EpsilonRange(lower=1e-6, upper=1e-2), "estimated"),
    Row("ResNet", EpsilonRange(lower=1e-4, upper=1e-1), "estimated"),
    Row("LSTM, 1 layer", EpsilonRange(lower=1e-6, upper=1e-2), "estimated"),
    Row("LSTM, 2 layers", EpsilonRange(lower=1e-7, upper=1e-2), "estimated"),
)
"""Table 3 of Silva & Rodriguez: ranges of ε for Adam, searched by others or estimated by Algorithm 2."""

LOOKS: Mapping[Source, tuple[str, str]] = {
    "found": (ACCENT, "found here"),
    "tried": (BLUE, "tried in the literature"),
    "estimated": ("#8b949e", "estimated by Silva & Rodriguez"),
}
"""Colour and words of each source."""


@dataclass(frozen=True)
class LiteratureInfo:
    """What the figure shows: the range found, then Table 3; `optimizer` is the one that was probed."""

    rows: tuple[Row, ...]
    optimizer: str

    @property
    def found(self) -> EpsilonRange:
        """The range that the probe found."""
        return self.rows[0].range


def literature_info(result: ProbeResult) -> LiteratureInfo:
    """Put the range found above those of Table 3."""
    return LiteratureInfo((Row("this study", result.range, "found"), *TABLE_3), result.optimizer)


def plot_literature(info: LiteratureInfo) -> go.Figure:
    """A bar from the lower to the upper end of each range, over log10 ε, the one found on top."""
    figure = go.Figure(layout={"template": LIGHT, "height": TITLE_ROOM + 110 + 28 * len(info.rows)})
    for source, (colour, words) in LOOKS.items():
        rows = [row for row in info.rows if row.source == source]
        low = [math.log10(row.range.lower) for row in rows]
        high = [math.log10(row.range.upper) for row in rows]
        figure.add_trace(
            go.Bar(
                orientation="h",
                y=[row.name for row in rows],
                base=low,
                x=[upper - lower for lower, upper in zip(low, high, strict=True)],
                # The line shows a range of one power of ten, which is as wide as nothing.
                marker={"color": colour, "line": {"color": colour, "width": 3}},
                width=0.55,
                name=words,
                hovertext=[_told(row) for row in rows],
                hoverinfo="text",
            )
        )
    edges = [math.log10(end) for row in info.rows for end in (row.range.lower, row.range.upper)]
    tried = sorted(len(row.range.grid()) for row in info.rows if row.source == "tried")
    figure.update_layout(
        barmode="overlay",
        title={
            "text": "The range of ε beside those of the literature",
            "subtitle": {
                "text": f"{count(len(info.found.grid()), 'value')} to try for {plotly_text(info.optimizer)}; searches of "
                f"Adam's ε tried {' and '.join(map(str, tried))} (Table 3 of Silva & Rodriguez)"
            },
        },
    )
    first, last = round(min(edges)), round(max(edges))
    # Beside the names, a phone has room for about seven ticks.
    ticks = range(first, last + 1, max(1, round((last - first) / 6)))
    figure.update_xaxes(
        range=[first - 0.5, last + 0.5],
        tickangle=0,
        tickvals=list(ticks),
        ticktext=[label("eps", power_of_ten(tick)) for tick in ticks],
        title={"text": AXIS_TITLES["eps"]},
    )
    figure.update_yaxes(categoryorder="array", categoryarray=[row.name for row in reversed(info.rows)], showgrid=False)
    return figure


def _told(row: Row) -> str:
    ends = f"{label('eps', row.range.lower)} to {label('eps', row.range.upper)}"
    return f"{row.name}, {LOOKS[row.source][1]}<br>{ends}: {count(len(row.range.grid()), 'value')} to try"
