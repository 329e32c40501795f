"""Simulate searches for lr and eps over the dense tables of outcomes.py: each trial is looked up, not trained.

    python benchmarks/search_comparison.py [SEEDS]    # writes the tables and the figure of docs/benchmarks.md

A suggestion becomes the nearest cell of the table. An eps beyond the table becomes its end, which is correct only if
the ends are plateaus. No search leaves the lr of the table, and all use the β₂ of the rule. Everything is counted in
epochs: trials, diverged ones until they diverge, the probe, the learning-rate test. dense.py says when a search has
arrived.
"""

from __future__ import annotations

import bisect
import json
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from dense import RESULTS, Table, read
from searches import GP_RANGE, GUIDED, ORDERED, SEARCHES, WIDE, Step

TRIALS = 100
"""The budget, in completely trained trials."""

SHOWN = (5, 10, 20)
"""The remaining loss is compared after the epochs of so many trials."""

SLOW_SEEDS, SLOW_TRIALS = 3, 40
"""Seeds and budget of searches that take long for a suggestion."""

LONG = 10
"""Epochs of a training that counts as long."""

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURE = ROOT / "docs" / "search-comparison.svg"

Course = list[tuple[float, float]]
"""Epochs spent at each improvement, and the remaining loss."""
Found = dict[str, dict[str, list[Course]]]
"""By table and search, the course of every seed."""


def course(table: Table, steps: Iterable[Step], start: float = 0, trials: int = TRIALS) -> Course:
    """The course of a search, until its budget is spent, or it has arrived and nothing more is compared."""
    total, least = start, math.inf
    found: Course = []
    for epochs, values in steps:
        total += epochs
        if total > trials * table.epochs:
            break
        if (lost := min((max(table.lost(value), 0.0) for value in values), default=math.inf)) < least:
            least = lost
            found.append((total, lost))
        if least == 0 or (least <= table.tolerance and total > SHOWN[-1] * table.epochs):
            break
    return found


def epochs_to(tolerance: float, found: Course) -> float:
    """Epochs until the loss is at most the tolerance; infinite beyond the budget."""
    return next((epochs for epochs, lost in found if lost <= tolerance), math.inf)


def lost_at(one: Course, epochs: float) -> float:
    """The remaining loss after that many epochs; all of it before the first trial has ended."""
    place = bisect.bisect_right(one, epochs, key=lambda point: point[0])
    return one[place - 1][1] if place else 1.0


def simulate(task: tuple[Table, str, int]) -> tuple[str, str, list[Course]]:
    """Run a search over a table with every seed."""
    table, label, seeds = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = SEARCHES[label]
    seeds, trials = (min(seeds, SLOW_SEEDS), SLOW_TRIALS) if search.slow else (seeds, TRIALS)
    before = search.before(table)
    courses = [course(table, search.trials(table, seed), before, trials) for seed in range(seeds)]
    return table.name, label, courses


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, each one of the values, which may be infinite."""
    ordered = sorted(values)
    half = (len(ordered) + 1) // 2
    parts = ordered[:half], ordered, ordered[-half:]
    return tuple(statistics.median_low(part) for part in parts)  # type: ignore[return-value]


def medians(found: Found, tables: dict[str, Table]) -> dict[str, dict[str, float]]:
    """By table and search, the median epochs to the goal."""
    return {
        name: {
            label: quartiles(epochs_to(tables[name].tolerance, one) for one in courses)[1]
            for label, courses in searches.items()
        }
        for name, searches in found.items()
    }


def ratios(rows: Iterable[dict[str, float]], label: str, to: str) -> list[float]:
    """The ratio of a search's epochs to another's, in the tables where either arrives."""
    return [row[label] / row[to] for row in rows if min(row[label], row[to]) < math.inf]


def number(value: float) -> str:
    """To two decimals; a dash for infinity."""
    return "–" if math.isinf(value) else f"{value:.2f}"


def summary(found: Found, tables: dict[str, Table]) -> str:
    """A row per search: how it compares over all tables."""
    rows = medians(found, tables)
    long = [row for name, row in rows.items() if tables[name].epochs >= LONG]
    after = " | ".join(f"lost after {trials}, %" for trials in SHOWN)
    lines = [
        f"| search | ratio to wide TPE | the same, {LONG} epochs or more | sooner | slowest | arrives "
        f"| ratio to the GP in the range | {after} |",
        "|---" * (7 + len(SHOWN)) + "|",
    ]
    for label in SEARCHES:
        each = ratios(rows.values(), label, WIDE)
        both = [ratio for ratio in each if 0 < ratio < math.inf]
        rival = ratios(rows.values(), label, GP_RANGE)
        lost = [
            statistics.median(
                100 * quartiles(lost_at(one, trials * tables[name].epochs) for one in found[name][label])[1]
                for name in rows
            )
            for trials in SHOWN
        ]
        cells = [
            label,
            number(statistics.median_low(each)),
            number(statistics.median_low(ratios(long, label, WIDE) or [math.inf])),
            f"{sum(ratio < 1 for ratio in each)} of {len(each)}",
            number(max(both, default=math.inf)),
            f"{sum(row[label] < math.inf for row in rows.values())} of {len(rows)}",
            number(statistics.median_low(rival)),
            *map(number, lost),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def to_goal(found: Found, tables: dict[str, Table]) -> str:
    """Median epochs to the goal: a row for each table."""
    lines = [f"| table | epochs of a trial | tolerance, % | {' | '.join(SEARCHES)} |"]
    lines.append("|---" * (3 + len(SEARCHES)) + "|")
    for name, row in medians(found, tables).items():
        cells = (f"{row[label]:.3g}".replace("inf", "–") for label in SEARCHES)
        table = tables[name]
        lines.append(f"| {name} | {table.epochs} | {100 * table.tolerance:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: Found, tables: dict[str, Table]) -> Any:
    """Remaining loss over epochs, one panel per table: medians, and the quartiles of two searches."""
    from plotly import colors
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    columns = 3
    rows = math.ceil(len(found) / columns)
    figure = make_subplots(rows, columns, subplot_titles=list(found), vertical_spacing=0.025, horizontal_spacing=0.06)
    palette = dict(zip(SEARCHES, colors.qualitative.Safe + colors.qualitative.Pastel, strict=False))
    palette |= {GUIDED: "rgb(0, 90, 181)", WIDE: "rgb(220, 50, 32)", ORDERED: "rgb(0, 158, 115)"}
    for index, (name, searches) in enumerate(found.items()):
        place: dict[str, Any] = {"row": index // columns + 1, "col": index % columns + 1}
        trial = tables[name].epochs
        at = [trial * 1.1**k for k in range(36)]  # to 28 trials
        for label, courses in searches.items():
            bands = [quartiles(100 * lost_at(one, epochs) for one in courses) for epochs in at]
            floor = [tuple(max(value, 0.01) for value in band) for band in bands]  # on a log axis
            bold = label in (GUIDED, WIDE, ORDERED)
            line: dict[str, Any] = {
                "x": at,
                "legendgroup": label,
                "line": {"color": palette[label], "width": 3 if bold else 1},
            }
            edge: dict[str, Any] = {"x": at, "legendgroup": label, "showlegend": False, "line": {"width": 0}}
            if label in (GUIDED, WIDE):
                figure.add_trace(go.Scatter(y=[band[2] for band in floor], mode="lines", **edge), **place)
                shade = palette[label].replace("rgb", "rgba").replace(")", ", 0.2)")
                fill: dict[str, Any] = {"mode": "lines", "fill": "tonexty", "fillcolor": shade}
                figure.add_trace(go.Scatter(y=[band[0] for band in floor], **fill, **edge), **place)
            figure.add_trace(
                go.Scatter(y=[band[1] for band in floor], name=label, showlegend=index == 0, **line), **place
            )
        figure.add_hline(y=100 * tables[name].tolerance, line={"dash": "dash", "color": "grey"}, **place)
    figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(type="log", dtick=1, range=[-2.05, 2])
    figure.update_xaxes(title="epochs spent", row=rows)
    figure.update_yaxes(title="lost, %", col=1)
    figure.update_layout(
        width=1200,
        height=230 * rows + 160,
        template="plotly_white",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 50, "r": 20, "t": 160, "b": 40},
    )
    return figure


def main() -> None:
    from reproduction import write

    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    began = time.monotonic()
    tables = {table.name: table for table in read()}
    tasks = [(table, label, seeds) for table in tables.values() for label in SEARCHES]
    found: Found = {name: {} for name in tables}
    with multiprocessing.Pool() as pool:
        for done, (name, label, courses) in enumerate(pool.imap(simulate, tasks), start=1):
            found[name][label] = courses
            print(f"\r{done} of {len(tasks)}", end="", file=sys.stderr, flush=True)
    rows = {
        name: {label: quartiles(epochs_to(tables[name].tolerance, one) for one in each) for label, each in row.items()}
        for name, row in found.items()
    }
    kept = {"seeds": seeds, "tolerance": {name: tables[name].tolerance for name in found}, "quartiles": rows}
    (RESULTS / "search_comparison.json").write_text(json.dumps(kept, indent=1) + "\n")
    draw(found, tables).write_image(FIGURE)
    parts = {"searches compared": summary(found, tables), "epochs to the goal": to_goal(found, tables)}
    PAGE.write_text(write(PAGE.read_text(), parts))
    print(f"\n{time.monotonic() - began:.0f} s, {seeds} seeds")


if __name__ == "__main__":
    main()
