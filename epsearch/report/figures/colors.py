"""The color scale of values: bright is better, and outliers do not use up the contrast."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from plotly.colors import sample_colorscale, unlabel_rgb

from epsearch.core.numbers import number
from epsearch.records.trial import Goal

BETTER = {"maximize": "higher is better", "minimize": "lower is better"}


class Colors(NamedTuple):
    """The values at both ends of the scale; if `clipped`, worse values share the color of the end."""

    low: float
    high: float
    clipped: bool
    goal: Goal


def colors_of(values: Sequence[float], goal: Goal) -> Colors | None:
    """The scale from the best value to the worst, clipped at four times the median distance from the best.

    Otherwise one perplexity of 2000 would give all values around 90 the same color. None if there are no values.
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
    """Black or white for text on a value's color, whichever has more contrast: at least 4.5 (WCAG 1.4.3).

    Plotly's own choice can drop to a contrast of 3.
    """
    low, high, _, goal = colors
    place = 0.5
    if high > low:
        # Scaled by the larger end: the difference of two large values can overflow.
        unit = max(abs(low), abs(high))
        place = min(max((value / unit - low / unit) / (high / unit - low / unit), 0.0), 1.0)
    return _ink(_scale(goal), place)


def text_color_at(place: float) -> str:
    """Black or white for text on Viridis at `place`, 0 (dark) to 1 (bright)."""
    return _ink("Viridis", place)


def _ink(scale: str, place: float) -> str:
    (color,) = sample_colorscale(scale, [place])
    # Relative luminance (WCAG): linearized sRGB, weighted by channel.
    channels = [each / 255 for each in unlabel_rgb(color)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    luminance = sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000000" if luminance > 0.179 else "#ffffff"


def _scale(goal: Goal) -> str:
    """Viridis, with better values brighter."""
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
        # Plotly widens a scale of zero width.
        "cmin": low if high > low else None,
        "cmax": high if high > low else None,
        "showscale": high > low,
        # Below the plot: at its side it would take a quarter of a phone's width.
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
