"""A study whose metric comes near the limit of floats is reported like any other."""

import csv
import json
import math
import sys
from io import StringIO

import pytest
from rich.console import Console

from epsearch.cli.summary import print_outcome
from epsearch.records.text import measured
from epsearch.report import figures
from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.drawable import LIMIT, drawable
from epsearch.report.html.comparison import comparison
from epsearch.report.html.notebook import outcome_html
from epsearch.report.output.json import to_json

from . import sample
from .sample import trial

HUGE = sys.float_info.max


def extreme(number, value, **fields):
    seeds = [value, -value]
    fields = {
        "seed_values": seeds,
        "spread": abs(value),
        "history": [(1, value), (2, -value), (3, value), (4, value)],
    } | fields
    return trial(number, value, **{"seed_epochs": [2, 2]} | fields)


def trials_of(values, lrs, epsilons):
    return [
        extreme(index, value, lr=lr, eps=eps, beta2=0.9 if index % 2 else 0.999)
        for index, (value, lr, eps) in enumerate(zip(values, lrs, epsilons, strict=True))
    ]


VALUES = [HUGE, -HUGE, 1.7e308, -1.7e308, 1e308, 5e-324, 0.0, -1.5e308, 1.0]
GRID = ([1e-3, 1e-2, 1e-1] * 3, [eps for eps in (1e-8, 1e-6, 1e-4) for _ in range(3)])
DRAWN = ([1.234e-3 * 1.37**i for i in range(9)], [1.234e-8 * 7.77 ** ((i * 5) % 9) for i in range(9)])


@pytest.fixture(params=["grid", "drawn"])
def extremes(request, tmp_path):
    lrs, epsilons = GRID if request.param == "grid" else DRAWN
    baseline = extreme(9, -HUGE, optimizer="sgd_momentum", eps=None, history=[(1, HUGE), (2, HUGE)], seed_epochs=[2])
    axes = {"lr": "interval", "eps": "interval"} if request.param == "drawn" else {}
    return sample.outcome(tmp_path, trials=[*trials_of(VALUES, lrs, epsilons), baseline], axes=axes)


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_everything_is_written(extremes, goal, tmp_path):
    outcome = extremes.model_copy(update={"goal": goal})
    sample.write(outcome)
    page = (tmp_path / "report.html").read_text()
    drawn = figures(outcome)
    assert {"heatmap-lr-eps", "heatmap-eps-beta2", "sgd-momentum-lr", "learning-curves", "trials-in-order"} <= {*drawn}
    for name, figure in drawn.items():
        assert f'id="{name}"' in page
        told = f"{figure.layout.title.text} {figure.layout.title.subtitle.text}"
        assert "nan" not in told
    rows = list(csv.DictReader(StringIO((tmp_path / "trials.csv").read_text())))
    assert [float(row["value"]) for row in rows] == [*VALUES, -HUGE]
    best = HUGE if goal == "maximize" else -HUGE
    assert outcome.best.value == best
    assert measured(outcome.best) in page


def test_json_stays_json(extremes):
    text = json.dumps(to_json(extremes), allow_nan=False)
    assert json.loads(text)["best"]["value"] == HUGE


def test_sentences_have_no_nan(extremes):
    found = verdict(extremes)
    assert found.tolerance is None or math.isfinite(found.tolerance)
    assert "nan" not in " ".join([*found.reasons, *(step.text for step in found.advice)])
    other = extremes.model_copy(update={"name": "other", "trials": [extreme(0, -HUGE)]})
    comparison([extremes, other])
    outcome_html(extremes)
    out = StringIO()
    print_outcome(Console(file=out), extremes)
    assert "1.7977e+308" in out.getvalue()


def numbers_in(part):
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list | tuple):
        return [number for each in part for number in numbers_in(each)]
    return [part] if isinstance(part, float) else []


def test_a_browser_can_draw_every_number(extremes):
    """And the texts beside them keep the values as they are."""
    drawn = figures(extremes)
    numbers = [number for figure in drawn.values() for number in numbers_in(figure.to_plotly_json())]
    assert max(map(abs, numbers)) == LIMIT
    assert "1.798e+308" in drawn["trials-in-order"].to_json()
    assert drawable(drawn, [1.0]) == drawn


def test_a_spread_alone_may_be_beyond_what_can_be_drawn(tmp_path):
    trials = [trial(0, 0.0, optimizer="sgd_momentum", eps=None, spread=HUGE, seed_values=[1.7e308, -1.7e308])]
    bars = figures(sample.outcome(tmp_path, trials=trials))["sgd-momentum-lr"].data[0].error_y.array
    assert list(bars) == [LIMIT]


def test_the_scale_of_colors_has_its_ticks(extremes):
    axis = figures(extremes)["heatmap-lr-eps"].layout.coloraxis
    ticks = list(axis.colorbar.tickvals)
    assert ticks == sorted(ticks)
    assert all(map(math.isfinite, [*ticks, axis.cmin, axis.cmax]))
