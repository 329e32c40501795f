"""Small figures of block characters: the histogram of ẑ, and the best values over lr and ε."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from rich.text import Text

from epsearch.core.numbers import number, rounded
from epsearch.records.epsilon import power_of_ten
from epsearch.records.histogram import BINS_PER_DECADE
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Goal, Trial
from epsearch.report.analysis.cells import MapCell, cell_of

HEIGHTS = "▁▂▃▄▅▆▇█"

SHADES = (("█", "#fde725"), ("▓", "#5ec962"), ("▒", "#21918c"), ("░", "#3b528b"), ("░", "#440154"))
"""From the best to the worst: the character serves terminals without color, the color is viridis."""

CELL = 6
"""Characters of a cell of the map, with the space before it."""


def histogram(result: ProbeResult, width: int) -> list[Text]:
    """ẑ of all elements over its magnitude, and under it the probed range of ε; empty if it does not fit."""
    found, low, high = result.histogram, result.range.lower, result.range.upper
    if not any(found.counts):
        return []
    ends = round(math.log10(low)), round(math.log10(high))
    first = min(math.floor(found.start / BINS_PER_DECADE), ends[0])
    last = max(math.ceil((found.start + len(found.counts)) / BINS_PER_DECADE), ends[1])
    left, right = f"z {rounded('eps', power_of_ten(first))} ", f" {rounded('eps', power_of_ten(last))}"
    per_decade = min((width - len(left) - len(right)) // (last - first), 5)
    if per_decade < 1:
        return []
    bars = [0] * (per_decade * (last - first))
    for index, elements in enumerate(found.counts, start=found.start - first * BINS_PER_DECADE):
        bars[index * per_decade // BINS_PER_DECADE] += elements
    before, across = (ends[0] - first) * per_decade, (ends[1] - ends[0]) * per_decade
    line = Text("".join(_height(bar, max(bars)) for bar in bars))
    line.stylize("cyan", before, before + across)
    bracket = " " * (len(left) + before) + ("└" + "─" * (across - 2) + "┘" if across > 1 else "┴")
    drawn = Text().append(left.replace("z", "ẑ"), "dim").append_text(line).append(right, "dim")
    return [drawn, Text(f"{bracket} range of eps", "cyan")]


def _height(count: int, most: int) -> str:
    return HEIGHTS[math.ceil(len(HEIGHTS) * count / most) - 1] if count else " "


def best_values(outcome: Outcome, width: int, tolerance: float = 0.0) -> list[Text]:
    """A row for each ε and a column for each half decade of lr, shaded from the best value to the worst.

    Values that fall short of the best by no more than `tolerance` have the best one's shade. Empty if there is nothing
    to compare, or if it does not fit.
    """
    places: dict[tuple[float, float], list[Trial]] = {}
    for trial in outcome.trials:
        if trial.optimizer == outcome.optimizer and trial.lr and trial.eps:
            places.setdefault((_to_decades(trial.eps, 1), _to_decades(trial.lr, 2)), []).append(trial)
    cells = {place: cell_of(trials, outcome.goal) for place, trials in places.items()}
    values = [cell.value for cell in cells.values() if cell.value is not None]
    epsilons, rates = (sorted({place[axis] for place in places}) for axis in (0, 1))
    head = f"{'eps':<8}{'lr':<3}"
    if len(values) < 2 or len(epsilons) < 2 or len(head) + CELL * len(rates) + 10 > width or len(epsilons) > 24:
        return []
    columns = "".join(f"{rounded('lr', float(f'{10**rate:.0e}')):>{CELL}}" for rate in rates)
    best = max(values) if outcome.goal == "maximize" else min(values)
    # Each shade reaches twice as far from the best as the one before, so that most of them show what is near it.
    shade = max(statistics.median(abs(value - best) for value in values) / 4, tolerance)
    lines = [Text(f"{head}{columns}{'best':>10}", "dim")]
    marks: set[str] = set()
    for eps in epsilons:
        line = Text().append(f"{rounded('eps', power_of_ten(round(eps))):<{len(head)}}", "dim")
        row = [cells.get((eps, rate)) for rate in rates]
        for cell in row:
            mark, style = _mark(cell, best, shade)
            marks.update(mark)
            line.append(" ").append(mark, style)
        found = [cell.value for cell in row if cell is not None and cell.value is not None]
        lines.append(line.append(f"{number(_best(found, outcome.goal)) if found else '-':>10}"))
    signs = {"◆": "best", "×": "diverged or failed", "·": "not tried", "-": "pruned"}
    key = [f"{sign} {word}" for sign, word in signs.items() if sign in marks]
    return [*lines, Text("   ".join([*key, "brighter is better"]), "dim")]


def _mark(cell: MapCell | None, best: float, step: float) -> tuple[str, str]:
    """The five characters of a cell and their style."""
    if cell is None or cell.state == "missing":
        return "  ·  ", "dim"
    if cell.value is None:
        return ("  -  ", "dim") if cell.state == "pruned" else ("  ×  ", "red")
    if cell.value == best:
        shade, color = SHADES[0]
        return f"{shade * 2}◆{shade * 2}", color
    behind = abs(cell.value - best)
    level = sum(behind > step * 2**doubling for doubling in range(len(SHADES) - 1))
    shade, color = SHADES[level]
    return shade * 5, color


def _best(values: Sequence[float], goal: Goal) -> float:
    return max(values) if goal == "maximize" else min(values)


def _to_decades(value: float, steps: int) -> float:
    """The nearest step of log10, with that many steps in a decade."""
    return round(steps * math.log10(value)) / steps
