import math

import pytest

from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.landscape import landscape_info
from epsearch.report.figures.landscape_figure import plot_landscape
from tests.report import hostile, sample
from tests.report.sample import trial


def info_of(outcome):
    return landscape_info(outcome, verdict(outcome))


def named(figure, axis):
    return [trace for trace in figure.data if trace.xaxis == axis]


def test_three_panels_share_the_axis_of_eps(outcome):
    info = info_of(outcome)
    assert info.cells.ys == sample.EPS
    assert info.probed == (1e-6, 1e-2)
    assert info.shares.sum() == pytest.approx(1)
    assert info.reach[0] <= -6.5 < -1.5 <= info.reach[1]
    assert info.best == outcome.best
    assert info.baseline == 0.902
    figure = plot_landscape(info)
    assert list(figure.layout.yaxis.range) == list(info.reach)
    assert figure.layout.yaxis2.matches == "y"
    assert figure.data[0].orientation == "h"


def test_a_row_is_the_verdicts_beside_its_best_trial(outcome):
    info, found = info_of(outcome), verdict(outcome)
    assert info.band
    shown = [(row.eps, row.lr, row.value, row.low, row.high, row.state) for row in info.rows]
    assert shown == [(row.eps, row.lr, row.value, row.low, row.high, row.state) for row in found.rows]
    best = [
        max(each.value for each in outcome.trials if each.eps == eps and each.state == "complete") for eps in sample.EPS
    ]
    assert [row.tried for row in info.rows] == best


def test_without_a_verdict_rows_are_the_best_trials_and_an_edge_is_one(tmp_path):
    values = {1e-4: (0.5, 0.6, 0.9), 1e-3: (0.5, 0.8, 0.7)}
    trials = [
        trial(n * 3 + m, value, eps=eps, lr=lr)
        for n, (eps, row) in enumerate(values.items())
        for m, (lr, value) in enumerate(zip((1e-3, 1e-2, 1e-1), row, strict=True))
    ]
    info = info_of(sample.outcome(tmp_path, trials=trials, planned=100))
    assert not info.band
    assert [(row.eps, row.lr, row.value, row.state) for row in info.rows] == [
        (1e-4, 1e-1, 0.9, "edge"),
        (1e-3, 1e-2, 0.8, "unknown"),
    ]
    dots = [trace for trace in named(plot_landscape(info), "x2") if trace.type == "scatter"]
    assert [(trace.marker.color, len(trace.x)) for trace in dots] == [("#e6007e", 1), ("#ffffff", 1)]


def test_the_expected_ridge_reaches_over_all_eps(tmp_path):
    info = info_of(sample.outcome(tmp_path, lr_test=sample.lr_test()))
    lrs, epsilons = zip(*info.ridge, strict=True)
    assert math.log10(epsilons[0]) == pytest.approx(info.reach[0])
    assert list(lrs) == sorted(lrs)
    assert "dashed: expected best α" in plot_landscape(info).layout.title.subtitle.text


def test_a_sampler_has_points(tmp_path):
    trials = [trial(n, 0.5 + n / 100, lr=1e-3 * 1.3**n, eps=1e-6 * 2.1**n) for n in range(9)]
    trials.append(trial(9, lr=0.5, eps=1e-5, state="failed", fail_reason="diverged"))
    info = info_of(sample.outcome(tmp_path, trials=trials, axes={"lr": "interval", "eps": "interval"}))
    assert info.cells is None
    assert len(info.points) == 10
    drawn = [trace for trace in named(plot_landscape(info), "x2") if trace.hovertext and "trial" in trace.hovertext[0]]
    assert sum(len(trace.x) for trace in drawn) == 10


def test_cells_that_did_not_learn_are_grey_and_diverged_ones_crossed(tmp_path):
    rates, epsilons = (1e-5, 1e-4, 1e-3, 1e-2), (1e-6, 1e-4)
    trials = [
        trial(n * 4 + m, (2.30, 2.30, 0.5, 0.3)[m] if n else (2.1, 0.4, 0.3, 0.3)[m], lr=lr, eps=eps)
        for n, eps in enumerate(epsilons)
        for m, lr in enumerate(rates)
    ]
    trials.append(trial(20, lr=1.0, eps=1e-4, state="failed", fail_reason="diverged"))
    info = info_of(sample.outcome(tmp_path, trials=trials, metric="loss", goal="minimize"))
    assert info.scale.chance == 2.30
    maps = [trace for trace in plot_landscape(info).data if trace.type == "heatmap"]
    grey, crossed = maps[-2:]
    assert [sum(each is not None for each in row) for row in grey.z] == [0, 2]
    assert crossed.text[1][4] == "×"
    assert "grey: no better than untrained (2.30)" in plot_landscape(info).layout.title.subtitle.text


def test_numbers_that_could_not_be_read_are_left_out(tmp_path):
    def texts(columns):
        trials = [trial(n, 0.5 + n / 100, lr=10 ** (-6 + n / 4), eps=1e-6) for n in range(columns)]
        figure = plot_landscape(info_of(sample.outcome(tmp_path, trials=trials, probe=None)))
        # In color; what has no value keeps its sign.
        cells = [index for index, trace in enumerate(figure.data) if trace.type == "heatmap" and trace.coloraxis]
        return [figure.data[index].texttemplate for index in cells], figure.layout.meta["phone"]["bare"], cells

    few, bare, _ = texts(4)
    assert set(few) == {"%{text}"}
    assert bare == []
    several, bare, cells = texts(10)
    assert set(several) == {"%{text}"}
    assert bare == cells
    assert set(texts(20)[0]) == {None}


def test_nothing_to_draw(tmp_path):
    alone = sample.outcome(tmp_path, optimizer="sgd_momentum", probe=None, trials=sample.baseline_trials(0))
    assert info_of(alone) is None


def test_one_waiting_trial(tmp_path):
    info = info_of(sample.outcome(tmp_path, trials=[trial(0)], probe=None))
    assert (info.scale, info.rows, info.best) == (None, (), None)
    assert "no complete trial yet" in plot_landscape(info).layout.title.text


@pytest.mark.parametrize("name", [hostile.SCRIPT, "%{x} <b>"])
def test_the_metrics_name_is_escaped(tmp_path, name):
    figure = plot_landscape(info_of(hostile.outcome(tmp_path, name)))
    assert "<" not in figure.layout.title.text
    assert "<" not in figure.layout.xaxis3.title.text
