from epsearch.report.scatter import plot_scatter, scatter_info

from .sample import trial


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
