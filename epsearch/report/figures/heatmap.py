"""Performance over two hyperparameters: lr × eps (Figs. 6, 7) and eps × beta2 (Fig. 10)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from epsearch.core.numbers import SYMBOLS, count, label, number, rounded
from epsearch.records.ridge import Ridge
from epsearch.records.trial import Goal, Trial, best_trial
from epsearch.report.analysis.cells import CellState, MapCell, cell_of
from epsearch.report.figures.axes import category_axis
from epsearch.report.figures.colors import BETTER, Colors, color_axis, colors_of, text_color_on
from epsearch.report.figures.hover import describe
from epsearch.report.figures.style import ACCENT, LIGHT, MARKS, headline
from epsearch.report.figures.text import plotly_text


@dataclass(frozen=True)
class HeatmapInfo:
    """The cells of a map.

    `x` and `y` name the hyperparameters, `xs` and `ys` are their values, ascending. `rows[i][j]` is the cell
    at ys[i], xs[j]: the best over the remaining hyperparameters. `best` is (i, j) of the best complete cell,
    None if there is none; `ties` counts the other cells with the same value. `colors` is None if
    nothing is complete. `ridge` is the expected best lr at each of `ys`, empty if unknown. If not `full`, the study
    has not planned every combination, and cells without a trial are blank.
    """

    x: str
    y: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    rows: tuple[tuple[MapCell, ...], ...]
    metric: str
    goal: Goal
    best: tuple[int, int] | None
    ties: int
    colors: Colors | None
    ridge: tuple[float, ...] = ()
    full: bool = True

    @property
    def best_trial(self) -> Trial | None:
        """The trial of the best cell."""
        return self.rows[self.best[0]][self.best[1]].trial if self.best else None

    def diagonals(self) -> dict[float, list[tuple[int, int]]]:
        """The cells (i, j) of equal lr/eps, by ascending log10 of it, where two cells or more share one.

        Empty for other hyperparameters. Where ε is far above ẑ, the result depends only on this ratio (Section 4.2).
        """
        found: dict[float, list[tuple[int, int]]] = {}
        if {self.x, self.y} == {"lr", "eps"}:
            for i, y in enumerate(self.ys):
                for j, x in enumerate(self.xs):
                    lr, eps = (x, y) if self.x == "lr" else (y, x)
                    if lr and eps:
                        found.setdefault(round(math.log10(lr / eps), 6), []).append((i, j))
        return {ratio: cells for ratio, cells in sorted(found.items()) if len(cells) > 1}

    def in_state(self, cell: MapCell, state: CellState) -> bool:
        """Whether to mark the cell as in this state."""
        return cell.state == state and (self.full or cell.trial is not None)

    def cells(self) -> Iterator[tuple[int, int, MapCell]]:
        """Every cell with its row and column."""
        for i, row in enumerate(self.rows):
            for j, cell in enumerate(row):
                yield i, j, cell


def heatmap_info(
    trials: Sequence[Trial],
    x: str,
    y: str,
    *,
    goal: Goal,
    metric: str,
    fixed: Mapping[str, float] | None = None,
    ridge: Ridge | None = None,
    full: bool = True,
) -> HeatmapInfo:
    """Sort trials into the cells of a map; trials without an x or a y (`sgd_momentum`) are ignored.

    Args:
        trials: of one optimizer, in any state; waiting ones give the map its full size.
        x: the horizontal hyperparameter: lr, eps or beta2.
        y: the vertical hyperparameter.
        goal: whether the best value is the highest or the lowest.
        metric: the name of the metric.
        fixed: use only trials with these values, such as {"beta2": 0.999}; default: the best over all of them.
        ridge: where the best lr was expected, for a map of lr and eps.
        full: whether the study plans every combination of the values.
    """
    wanted = dict(fixed or {})
    places: dict[tuple[float, float], list[Trial]] = {}
    for trial in trials:
        cell = trial.cell
        if x in cell and y in cell and wanted.items() <= cell.items():
            places.setdefault((cell[y], cell[x]), []).append(trial)
    ys, xs = (tuple(sorted({at[axis] for at in places})) for axis in (0, 1))
    rows = tuple(tuple(cell_of(places.get((i, j), ()), goal) for j in xs) for i in ys)

    complete = [cell.trial for row in rows for cell in row if cell.trial is not None and cell.value is not None]
    best = best_trial(complete, goal)
    values = [trial.value for trial in complete if trial.value is not None]
    return HeatmapInfo(
        x=x,
        y=y,
        xs=xs,
        ys=ys,
        rows=rows,
        metric=metric,
        goal=goal,
        best=(ys.index(best.cell[y]), xs.index(best.cell[x])) if best else None,
        ties=sum(value == best.value for value in values) - 1 if best else 0,
        colors=colors_of(values, goal),
        ridge=tuple(ridge.lr(eps) for eps in ys) if ridge is not None and (x, y) == ("lr", "eps") else (),
        full=full,
    )


def plot_heatmap(info: HeatmapInfo) -> go.Figure:
    """The map: values in the cells, the best outlined, signs in cells without a value."""
    figure = go.Figure(layout={"template": LIGHT, "height": 320 + 40 * max(len(info.ys), 2)})
    if info.colors is not None:
        figure.add_traces(list(_values(info, info.colors)))
        figure.update_layout(coloraxis=color_axis(info.colors), margin={"b": 115})
    for state in MARKS:
        if any(info.in_state(cell, state) for _, _, cell in info.cells()):
            figure.add_trace(_marks(info, state))
    if diagonals := info.diagonals():
        figure.add_trace(_diagonals(info, diagonals))
    if info.ridge and len(info.xs) > 1:
        figure.add_shape(_ridge(info))
    # Shapes count categories from 0; a cell extends half a step to each side.
    if info.best is not None:
        i, j = info.best
        figure.add_shape(
            type="rect",
            x0=j - 0.5,
            x1=j + 0.5,
            y0=i - 0.5,
            y1=i + 0.5,
            line={"color": ACCENT, "width": 3},
        )
    ties = f"; {count(info.ties, 'more cell')} with the same value" if info.ties else ""
    over = f"{plotly_text(info.metric)} over {SYMBOLS[info.x]} and {SYMBOLS[info.y]} ({BETTER[info.goal]})"
    figure.update_layout(title=headline(over, info.best_trial, "outlined", ties))
    figure.update_xaxes(**category_axis(info.x, info.xs))
    figure.update_yaxes(**category_axis(info.y, info.ys))
    return figure


def _grid(info: HeatmapInfo) -> dict[str, object]:
    """Settings shared by all traces of the map."""
    return {
        "x": [label(info.x, value) for value in info.xs],
        "y": [label(info.y, value) for value in info.ys],
        "hovertext": [[hover(info, i, j, cell) for j, cell in enumerate(row)] for i, row in enumerate(info.rows)],
        "hoverinfo": "text",
        "hoverongaps": False,
        "texttemplate": "%{text}",
        "xgap": 2,
        "ygap": 2,
    }


def _values(info: HeatmapInfo, colors: Colors) -> Iterator[go.Heatmap]:
    """The complete cells, colored by value: one trace for each text color, since a trace has only one."""
    inks: dict[float | None, str] = {
        cell.value: text_color_on(cell.value, colors) for _, _, cell in info.cells() if cell.value is not None
    }
    for ink in sorted(set(inks.values())):
        z = [[cell.value if inks.get(cell.value) == ink else None for cell in row] for row in info.rows]
        yield go.Heatmap(
            z=z,
            text=[["" if value is None else number(value) for value in row] for row in z],
            textfont={"color": ink},
            coloraxis="coloraxis",
            **_grid(info),
        )


def _marks(info: HeatmapInfo, state: CellState) -> go.Heatmap:
    """The cells in one state without a value: a sign on a fill, named in the legend."""
    mark = MARKS[state]
    return go.Heatmap(
        z=[[1 if info.in_state(cell, state) else None for cell in row] for row in info.rows],
        text=[[mark.sign if info.in_state(cell, state) else "" for cell in row] for row in info.rows],
        colorscale=[[0, mark.fill], [1, mark.fill]],
        showscale=False,
        textfont={"color": mark.ink},
        name=f"{mark.sign} {mark.word}",
        showlegend=True,
        **_grid(info),
    )


def _diagonals(info: HeatmapInfo, diagonals: Mapping[float, Sequence[tuple[int, int]]]) -> go.Scatter:
    """Lines of equal lr/eps through the cells' centres, shown when the legend entry is clicked."""
    columns = [label(info.x, value) for value in info.xs]
    rows = [label(info.y, value) for value in info.ys]
    xs: list[str | None] = []
    ys: list[str | None] = []
    ratios: list[str] = []
    for ratio, cells in diagonals.items():
        xs += [*(columns[j] for _, j in cells), None]
        ys += [*(rows[i] for i, _ in cells), None]
        ratios += [f"α/ε {rounded('lr', 10**ratio)}"] * (len(cells) + 1)
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": ACCENT, "width": 1.5, "dash": "dot"},
        name="equal α/ε (click)",
        visible="legendonly",
        showlegend=True,
        hovertext=ratios,
        hoverinfo="text",
    )


def _ridge(info: HeatmapInfo) -> dict[str, object]:
    """The expected best lr of each row, as a line; between two columns it is where its logarithm is."""
    positions = np.log10(info.xs)
    places = [float(np.interp(math.log10(lr), positions, range(len(positions)))) for lr in info.ridge]
    points = [f"{place:.3f},{row}" for row, place in enumerate(places)]
    return {
        "type": "path",
        "path": "M" + " L".join([f"{places[0]:.3f},-0.5", *points, f"{places[-1]:.3f},{len(places) - 0.5}"]),
        "line": {"color": ACCENT, "width": 2, "dash": "dash"},
        "name": "expected ridge",
        "showlegend": True,
    }


def hover(info: HeatmapInfo, i: int, j: int, cell: MapCell) -> str:
    """The hover label of the cell in row `i`, column `j`."""
    lines = [f"{SYMBOLS[name]} {label(name, value)}" for name, value in ((info.x, info.xs[j]), (info.y, info.ys[i]))]
    if cell.trial is None:
        return "<br>".join([*lines, "not run yet"])
    return "<br>".join([*lines, *describe(cell, info.metric, shown=(info.x, info.y))])
