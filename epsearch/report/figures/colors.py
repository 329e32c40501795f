"""The color scale of values: bright is better, and one bad value does not take all the contrast."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from plotly.colors import sample_colorscale, unlabel_rgb

from epsearch.core.numbers import number
from epsearch.records.trial import Goal

BETTER = {"maximize": "higher is better", "minimize": "lower is better"}


class Colors(NamedTuple):
    """The values at the two ends of the scale; `clipped`: worse ones share the color of the end."""

    low: float
    high: float
    clipped: bool
    goal: Goal


def colors_of(values: Sequence[float], goal: Goal) -> Colors | None:
    """From the best value to the worst, but no farther than is telling; None of no values.

    One perplexity of 2000 among values about 90 would give all the others one color, so the scale ends at
    four times the median distance from the best.
    """
    if not values:
        return None
    best, worst = (max(values), min(values)) if goal == "maximize" else (min(values), max(values))
    end = worst
    reach = 4 * statistics.median(abs(value - best) for value in values)
    if 0 < reach < abs(worst - best):
        end = best + (reach if worst > best else -reach)
    return Colors(min(best, end), max(best, end), end != worst, goal)


def text_color_on(value: float, colors: Colors) -> str:
    """Black or white, for text on a value's color: the one of more contrast, which is 4.5 at least (WCAG 1.4.3).

    Plotly's own choice is dark grey on a middling green, a contrast of 3.
    """
    low, high, _, goal = colors
    place = 0.5
    if high > low:
        # In units of the larger end: the difference of two large values may be beyond what a float holds.
        unit = max(abs(low), abs(high))
        place = min(max((value / unit - low / unit) / (high / unit - low / unit), 0.0), 1.0)
    (color,) = sample_colorscale(_scale(goal), [place])
    # Relative luminance: sRGB, linear again, as bright as the eye takes each channel.
    channels = [each / 255 for each in unlabel_rgb(color)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    luminance = sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if luminance > 0.179 else "#ffffff"


def _scale(goal: Goal) -> str:
    """Viridis with its bright end where it is better."""
    return "Viridis" if goal == "maximize" else "Viridis_r"


def color_axis(colors: Colors) -> dict[str, object]:
    """The scale as a Plotly `coloraxis`."""
    low, high, clipped, goal = colors
    ticks = [low * (1 - step / 4) + high * (step / 4) for step in range(5)]
    texts = [number(tick) for tick in ticks]
    if clipped:
        end, sign = (0, "≤ ") if goal == "maximize" else (-1, "≥ ")
        texts[end] = sign + texts[end]
    return {
        "colorscale": _scale(goal),
        # A scale of no width has no colors: Plotly widens it around the one value.
        "cmin": low if high > low else None,
        "cmax": high if high > low else None,
        "showscale": high > low,
        # Below the plot: beside it, it would take a quarter of a phone's width.
        "colorbar": {
            "orientation": "h",
            "len": 0.9,
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "thickness": 10,
            "ticklabeloverflow": "allow",
            "tickvals": ticks,
            "ticktext": texts,
        },
    }
