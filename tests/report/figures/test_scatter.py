import math

import pytest

from epsearch.records.ridge import Ridge
from epsearch.report.figures.scatter import plot_scatter, scatter_info
from tests.report import sample
from tests.report.sample import trial


def test_points_by_state_and_the_best_ringed():
    info = scatter_info(
        [
            trial(0, 90.0, lr=0.00123, eps=3.3e-5),
            trial(1, 80.0, lr=0.0123, eps=3.3e-6),
            trial(2, lr=0.123, eps=3.3e-7, state="failed", fail_reason="diverged"),
            trial(3, 0.9, optimizer="sgd_momentum", eps=None),
        ],
        "lr",
        "eps",
        goal="minimize",
        metric="perplexity",
    )
    assert [point.state for point in info.points] == ["complete", "complete", "diverged"]
    assert info.best.number == 1
    done, diverged, ring = plot_scatter(info).data
    assert list(done.x) == [0.00123, 0.0123]
    assert list(done.marker.color) == [90.0, 80.0]
    assert diverged.name == "diverged"
    assert list(ring.x) == [0.0123]


def test_beta2_lies_on_the_log_of_its_complement():
    info = scatter_info([trial(0, 0.5, beta2=0.99)], "eps", "beta2", goal="maximize", metric="accuracy")
    figure = plot_scatter(info)
    assert round(figure.data[0].y[0], 12) == 0.01
    assert figure.layout.yaxis.ticktext[:4] == ("0", "0.9", "0.99", "0.999")


def test_nothing_complete():
    info = scatter_info([trial(0, lr=0.00123456)], "lr", "eps", goal="maximize", metric="accuracy")
    assert info.best is None
    assert plot_scatter(info).layout.title.subtitle.text == "no complete trial yet"


def drawn(number, value, lr, eps):
    return trial(number, value, lr=lr * 1.000123, eps=eps * 1.000123)


def test_the_surface_is_linear_in_the_logarithms_and_ends_with_the_trials():
    corners = [drawn(0, 0.0, 1e-4, 1e-8), drawn(1, 0.2, 1e-2, 1e-8), drawn(2, 0.4, 1e-4, 1e-4)]
    middle = drawn(3, 0.3, 1e-3, 1e-6)
    info = scatter_info([*corners, middle], "lr", "eps", goal="maximize", metric="accuracy")
    surface = info.surface
    assert surface.values[0, 0] == pytest.approx(0)
    assert surface.values[0, -1] == pytest.approx(0.2)
    assert math.isnan(surface.values[-1, -1])  # outside of the triangle nothing is said
    assert surface.xs[[0, -1]] == pytest.approx([1e-4 * 1.000123, 1e-2 * 1.000123])
    figure = plot_scatter(info)
    assert figure.data[0].type == "contour"
    assert "interpolated" in figure.layout.title.subtitle.text


@pytest.mark.parametrize(
    "trials",
    [
        [drawn(number, 0.1 * number, 10.0**-number, 1e-6) for number in range(1, 7)],
        [drawn(0, 0.5, 1e-3, 1e-6)] * 5,
        [drawn(0, 0.5, 1e-3, 1e-6), drawn(1, 0.5, 1e-2, 1e-5)],
        [],
    ],
)
def test_trials_that_span_no_area_have_no_surface(trials):
    info = scatter_info(trials, "lr", "eps", goal="maximize", metric="accuracy")
    assert info.surface is None
    assert not any(trace.type == "contour" for trace in plot_scatter(info).data)


def test_the_expected_ridge():
    """From the smallest to the largest ε tried, through the suggestion of the learning-rate test."""
    ridge = Ridge.of(sample.probe(), sample.lr_test())
    trials = [drawn(0, 0.5, 1e-3, 1e-6), drawn(1, 0.6, 1e-2, 1e-2)]
    info = scatter_info(trials, "lr", "eps", goal="maximize", metric="accuracy", ridge=ridge)
    assert info.ridge[0] == pytest.approx((3e-3, 1e-6), rel=1e-3)
    assert info.ridge[-1] == pytest.approx((ridge.lr(1e-2), 1e-2), rel=1e-3)
    assert [trace.name for trace in plot_scatter(info).data if trace.showlegend] == ["expected ridge"]
    assert scatter_info(trials, "eps", "lr", goal="maximize", metric="accuracy", ridge=ridge).ridge == ()


@pytest.mark.parametrize(("goal", "top"), [("maximize", 0.9), ("minimize", 0.5)])
def test_the_best_of_trials_in_one_place_is_on_top(goal, top):
    trials = [trial(number, value) for number, value in enumerate((0.5, 0.9, 0.7))]
    figure = plot_scatter(scatter_info(trials, "lr", "eps", goal=goal, metric="accuracy"))
    assert figure.data[0].marker.color[-1] == top
