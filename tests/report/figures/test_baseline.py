from epsearch.report.figures.baseline import curve_info, plot_curve
from tests.report import sample
from tests.report.sample import trial


def test_the_baseline_over_lr():
    info = curve_info([trial(0, 0.99), *sample.baseline_trials(1)], goal="maximize", metric="accuracy", reference=0.99)
    assert info.lrs == (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    assert [cell.value for cell in info.cells] == [0.62, 0.81, 0.902, 0.87, None]
    assert info.best.lr == 1e-2
    traces = {trace.name: trace for trace in plot_curve(info).data}
    assert list(traces["SGD with momentum"].y) == [0.62, 0.81, 0.902, 0.87]
    assert list(traces["SGD with momentum"].error_y.array) == [0.004] * 4
    assert list(traces["diverged"].x) == [1.0]
    assert list(traces["adaptive best: 0.9900"].y) == [0.99, 0.99]


def test_lower_is_better():
    trials = [
        trial(0, 100.0, optimizer="sgd_momentum", eps=None),
        trial(1, 90.0, optimizer="sgd_momentum", lr=0.1, eps=None),
    ]
    assert curve_info(trials, goal="minimize", metric="perplexity").best.number == 1


def test_nothing_complete():
    info = curve_info([trial(0, optimizer="sgd_momentum", eps=None)], goal="maximize", metric="accuracy")
    assert info.best is None
    assert plot_curve(info).layout.title.subtitle.text == "no complete trial yet"
