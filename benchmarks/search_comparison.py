"""Simulate searches for lr and eps over the dense tables of outcomes.py: each trial is looked up, not trained.

    python benchmarks/search_comparison.py [SEEDS]    # writes the tables and the figure of docs/benchmarks.md

A suggestion becomes the nearest cell of the table. An eps beyond the table becomes its end, which is correct only if
the ends are plateaus. Every search uses all lr of the table and the β₂ of the rule. The goal is within 0.5 % of the
best value there; range_holds.py measures what the rule for β₂ loses. Epochs are counted, including that of the probe.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna

from epsearch.records.epsilon import EpsilonRange

TRIALS = 100
"""The budget, in completely trained trials."""

CLOSE = 0.005

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURE = ROOT / "docs" / "search-comparison.svg"
RESULTS = ROOT / "benchmarks" / "results"

DEFAULT_EPS = {"adam": 1e-8, "rmsprop": 1e-8, "adabelief": 1e-16}
"""The default eps of each optimizer."""


@dataclass(frozen=True)
class Table:
    """One workload and optimizer: the metric after every epoch by (lr, eps); a diverged cell's curve ends early.

    `median` is the median of the probe's ẑ.
    """

    goal: str
    epochs: int
    curves: dict[tuple[float, float], list[float]]
    found: EpsilonRange
    optimizer: str
    median: float

    @cached_property
    def best(self) -> float:
        """The best value of all cells and epochs."""
        return (max if self.goal == "maximize" else min)(value for curve in self.curves.values() for value in curve)

    @cached_property
    def lrs(self) -> list[float]:
        """All lr of the table, ascending."""
        return sorted({lr for lr, _ in self.curves})

    @cached_property
    def epss(self) -> list[float]:
        """All eps of the table, ascending."""
        return sorted({eps for _, eps in self.curves})

    def curve(self, lr: float, eps: float) -> list[float]:
        """The curve of the nearest cell."""
        return self.curves[nearest(self.lrs, lr), nearest(self.epss, eps)]

    def lost(self, value: float) -> float:
        """The loss of a value compared with the best, as a share of the best."""
        return abs(value - self.best) / abs(self.best)


Step = tuple[int, list[float]]
"""Epochs spent on a trial, and its finite metrics."""
Search = Callable[[Table, int], Iterator[Step]]


def nearest(points: list[float], value: float) -> float:
    """The nearest of the points by ratio; beyond the ends, the end."""
    return min(points, key=lambda point: abs(math.log(point / value)))


def spent(table: Table, curve: list[float]) -> int:
    """Epochs of a whole trial, including the one in which it diverged."""
    return min(len(curve) + 1, table.epochs)


def course(table: Table, steps: Iterable[Step], start: int = 0) -> list[tuple[int, float]]:
    """Epochs spent at each improvement, and the remaining loss; until the budget is spent or the best is found."""
    total, least = start, math.inf
    found = []
    for epochs, values in steps:
        total += epochs
        if total > TRIALS * table.epochs:
            break
        if (lost := min(map(table.lost, values), default=math.inf)) < least:
            least = lost
            found.append((total, lost))
        if least == 0:
            break
    return found


def epochs_to_goal(found: list[tuple[int, float]]) -> float:
    """Epochs until the loss is at most 0.5 %; infinite beyond the budget."""
    return next((epochs for epochs, lost in found if lost <= CLOSE), math.inf)


def grid(eps: Callable[[Table], list[float]]) -> Search:
    """lr × eps in an order shuffled by the seed."""

    def search(table: Table, seed: int) -> Iterator[Step]:
        cells = list(itertools.product(table.lrs, eps(table)))
        random.Random(seed).shuffle(cells)
        for cell in cells:
            curve = table.curve(*cell)
            yield spent(table, curve), curve

    return search


def sampled(
    bounds: Callable[[Table], tuple[float, float]], sampler: str, *, halving: bool = False, effective: bool = False
) -> Search:
    """Ask-and-tell with an Optuna sampler over log-uniform lr and eps; with `halving`, prunes on the tables' epochs.

    With `effective`, over η = lr / (z̃ + eps) and eps, where z̃ is the probe's median.
    """

    def search(table: Table, seed: int) -> Iterator[Step]:
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        pruner = optuna.pruners.SuccessiveHalvingPruner() if halving else optuna.pruners.NopPruner()
        study = optuna.create_study(direction=table.goal, sampler=samplers[sampler](seed=seed), pruner=pruner)
        low, high = bounds(table)
        while True:
            trial = study.ask()
            eps = low if low == high else trial.suggest_float("eps", low, high, log=True)
            if effective:
                # As wide as lr itself, around the point where eps equals ẑ; an lr beyond the table becomes its end.
                middle = denominator(table, table.median)
                eta = trial.suggest_float("eta", table.lrs[0] / middle, table.lrs[-1] / middle, log=True)
                lr = eta * denominator(table, eps)
            else:
                lr = trial.suggest_float("lr", table.lrs[0], table.lrs[-1], log=True)
            curve = table.curve(lr, eps)
            seen: list[float] = []
            pruned = False
            for step, value in enumerate(curve, start=1):
                seen.append(value)
                trial.report(value, step)
                if pruned := halving and step < len(curve) and trial.should_prune():
                    break
            if pruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            elif seen:
                study.tell(trial, max(seen) if table.goal == "maximize" else min(seen))
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            yield len(seen) if pruned else spent(table, curve), seen

    return search


def denominator(table: Table, eps: float) -> float:
    """The divisor of lr where ẑ is its median; AdaBelief's ε is compared with a square (Table 5)."""
    total = table.median + eps
    return math.sqrt(total) if table.optimizer == "adabelief" else total


def _range(table: Table) -> tuple[float, float]:
    return table.found.lower, table.found.upper


SEARCHES: dict[str, tuple[int, Search]] = {
    "a: grid of the range": (1, grid(lambda table: table.found.grid())),
    "b: endpoints": (1, grid(lambda table: table.found.endpoints())),
    "c: TPE in the range": (1, sampled(_range, "tpe")),
    "d: TPE, 1e-10 to 1e+10": (0, sampled(lambda _: (1e-10, 1e10), "tpe")),
    "e: TPE, 1e-16 to 1e-5": (0, sampled(lambda _: (1e-16, 1e-5), "tpe")),
    "f: random, 1e-10 to 1e+10": (0, sampled(lambda _: (1e-10, 1e10), "random")),
    "g: successive halving, 1e-10 to 1e+10": (0, sampled(lambda _: (1e-10, 1e10), "random", halving=True)),
    "h: the default eps": (0, grid(lambda table: [DEFAULT_EPS[table.optimizer]])),
    "i: c, over η": (1, sampled(_range, "tpe", effective=True)),
}
"""By name: epochs spent on a probe, and the search."""

IN_RANGE, WIDE = "c: TPE in the range", "d: TPE, 1e-10 to 1e+10"


def read(results: Path = RESULTS) -> dict[str, Table]:
    """The tables of outcomes.py, at the β₂ of the rule."""
    # Imported here: it loads torch and pyarrow, which a simulation over another table does not need.
    from outcomes import at_ruled_beta2, range_of, tables

    found = {}
    for probe, mine in tables(results):
        found[f"{probe['workload']} {probe['optimizer']}"] = Table(
            probe["goal"],
            probe["epochs"],
            {(row["lr"], row["eps"]): row["epochs"] for row in at_ruled_beta2(probe, mine)},
            range_of(probe),
            probe["optimizer"],
            probe["median"],
        )
    return found


def simulate(task: tuple[str, Table, str, int]) -> tuple[str, str, list[list[tuple[int, float]]]]:
    """Run a search over a table with every seed."""
    name, table, label, seeds = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    start, search = SEARCHES[label]
    return name, label, [course(table, search(table, seed), start) for seed in range(seeds)]


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, each one of the values, which may be infinite."""
    ordered, half = sorted(values), (len(values) + 1) // 2
    parts = ordered[:half], ordered, ordered[-half:]
    return tuple(statistics.median_low(part) for part in parts)  # type: ignore[return-value]


Found = dict[str, dict[str, list[list[tuple[int, float]]]]]
"""By table and search, the course of every seed."""


def to_goal(found: Found) -> str:
    """Median epochs to the goal, a row for each table; and their ratio to TPE over the wide range, over the tables."""
    lines = [f"| table | {' | '.join(SEARCHES)} |", "|---" * (len(SEARCHES) + 1) + "|"]
    medians = {
        name: {label: quartiles([epochs_to_goal(one) for one in courses])[1] for label, courses in searches.items()}
        for name, searches in found.items()
    }
    for name, row in medians.items():
        lines.append(f"| {name} | {' | '.join(f'{row[label]:g}'.replace('inf', '–') for label in SEARCHES)} |")
    # If neither reaches the goal, the ratio is unknown.
    ratios = {
        label: [row[label] / row[WIDE] for row in medians.values() if min(row[label], row[WIDE]) < math.inf]
        for label in SEARCHES
    }
    cells = (f"{statistics.median_low(each):.2f}".replace("inf", "–") for each in ratios.values())
    lines.append(f"| **median of the ratio to d** | {' | '.join(cells)} |")
    wins = (f"{sum(ratio < 1 for ratio in each)} of {len(each)}" for each in ratios.values())
    lines.append(f"| sooner than d in | {' | '.join(wins)} |")
    return "\n".join(lines)


def left_over(found: Found, tables: dict[str, Table]) -> str:
    """The remaining loss after 25 trials, in %: the median over the seeds."""
    lines = [f"| table | {' | '.join(SEARCHES)} |", "|---" * (len(SEARCHES) + 1) + "|"]
    for name, searches in found.items():
        epochs = 25 * tables[name].epochs
        cells = (f"{100 * quartiles([lost_at(one, epochs) for one in searches[label]])[1]:.2f}" for label in SEARCHES)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lost_at(one: list[tuple[int, float]], epochs: float) -> float:
    """The remaining loss after that many epochs; all of it before the first trial has ended."""
    place = bisect.bisect_right(one, epochs, key=lambda point: point[0])
    return one[place - 1][1] if place else 1.0


def draw(found: Found, tables: dict[str, Table]) -> Any:
    """Remaining loss over epochs, one panel per table: medians, and the quartiles of two searches."""
    from plotly import colors
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    columns = 3
    rows = math.ceil(len(found) / columns)
    figure = make_subplots(rows, columns, subplot_titles=list(found), vertical_spacing=0.03, horizontal_spacing=0.06)
    palette = dict(zip(SEARCHES, colors.qualitative.Safe, strict=False))
    palette |= {IN_RANGE: "rgb(0, 90, 181)", WIDE: "rgb(220, 50, 32)"}
    for index, (name, searches) in enumerate(found.items()):
        place: dict[str, Any] = {"row": index // columns + 1, "col": index % columns + 1}
        trial = tables[name].epochs
        at = [round(trial * 1.1**k) for k in range(60) if trial * 1.1**k <= TRIALS * trial]
        for label, courses in searches.items():
            bands = [quartiles([100 * lost_at(one, epochs) for one in courses]) for epochs in at]
            floor = [tuple(max(value, 0.01) for value in band) for band in bands]  # on a log axis
            width = 3 if label in (IN_RANGE, WIDE) else 1.5
            line: dict[str, Any] = {"x": at, "legendgroup": label, "line": {"color": palette[label], "width": width}}
            edge: dict[str, Any] = {"x": at, "legendgroup": label, "showlegend": False, "line": {"width": 0}}
            if label in (IN_RANGE, WIDE):
                figure.add_trace(go.Scatter(y=[band[2] for band in floor], mode="lines", **edge), **place)
                shade = palette[label].replace("rgb", "rgba").replace(")", ", 0.2)")
                fill: dict[str, Any] = {"mode": "lines", "fill": "tonexty", "fillcolor": shade}
                figure.add_trace(go.Scatter(y=[band[0] for band in floor], **fill, **edge), **place)
            figure.add_trace(
                go.Scatter(y=[band[1] for band in floor], name=label, showlegend=index == 0, **line), **place
            )
        figure.add_hline(y=100 * CLOSE, line={"dash": "dash", "color": "grey"}, **place)
    figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(type="log", dtick=1, range=[-2.05, 2])
    figure.update_xaxes(title="epochs spent", row=rows)
    figure.update_yaxes(title="lost, %", col=1)
    figure.update_layout(
        width=1200,
        height=250 * rows + 120,
        template="plotly_white",
        legend={"orientation": "h", "y": 1.03, "yanchor": "bottom"},
        margin={"l": 50, "r": 20, "t": 120, "b": 40},
    )
    return figure


def main() -> None:
    from reproduction import write

    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    began = time.monotonic()
    tables = read()
    tasks = [(name, table, label, seeds) for name, table in tables.items() for label in SEARCHES]
    found: Found = {name: {} for name in tables}
    with multiprocessing.Pool() as pool:
        for done, (name, label, courses) in enumerate(pool.imap(simulate, tasks), start=1):
            found[name][label] = courses
            print(f"\r{done} of {len(tasks)}", end="", file=sys.stderr, flush=True)
    rows = {
        name: {label: quartiles([epochs_to_goal(one) for one in courses]) for label, courses in searches.items()}
        for name, searches in found.items()
    }
    (RESULTS / "search_comparison.json").write_text(json.dumps({"seeds": seeds, "quartiles": rows}, indent=1) + "\n")
    draw(found, tables).write_image(FIGURE)
    parts = {"epochs to the goal": to_goal(found), "lost after 25 trials": left_over(found, tables)}
    PAGE.write_text(write(PAGE.read_text(), parts))
    print(f"\n{time.monotonic() - began:.0f} s, {seeds} seeds")


if __name__ == "__main__":
    main()
