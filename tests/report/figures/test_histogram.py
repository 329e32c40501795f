import numpy as np

from epsearch.records.epsilon import EpsilonRange
from epsearch.records.histogram import Histogram
from epsearch.records.probe import Layer, ProbeResult
from epsearch.report.figures.histogram import histogram_info, plot_histogram, short_names
from tests.report import sample


def result(*layers: Layer, lower=1e-4, upper=1e-2) -> ProbeResult:
    found = EpsilonRange(lower=lower, upper=upper)
    return ProbeResult(range=found, optimizer="adam", percentiles=(2, 98), layers=list(layers))


def layer(values, zeros=0, name="weight"):
    histogram = sample.histogram(np.array(values)).model_copy(update={"zeros": zeros})
    return Layer(
        name=name,
        numel=len(values) + zeros,
        zeros=zeros,
        nonfinite=0,
        p2=min(values),
        p98=max(values),
        histogram=histogram,
    )


def test_shares_are_those_of_the_slow_obvious_way():
    probe = sample.probe()
    info = histogram_info(probe)
    assert info.shares.shape == (8, len(info.edges) - 1)
    np.testing.assert_allclose(info.shares.sum(axis=1), 1)
    np.testing.assert_allclose(info.pooled.sum(), 1)
    np.testing.assert_allclose(np.diff(info.edges), 0.1)
    generator = np.random.default_rng(0)
    first = generator.normal(-4.6, 0.7, size=4000)
    counts, _ = np.histogram(first, bins=info.edges)
    np.testing.assert_allclose(info.shares[0], counts / 4000)


def test_a_bin_starts_at_its_power_of_ten():
    info = histogram_info(result(layer([1.0001e-3] * 3)))
    (filled,) = np.flatnonzero(info.pooled)
    np.testing.assert_allclose(info.edges[filled], -3)


def test_the_bins_reach_over_the_range_and_the_eps_in_use():
    info = histogram_info(result(layer([1.1e-3])), eps=1e-8)
    assert info.edges[0] == -8
    assert info.edges[-1] == -2
    assert info.above == {1e-4: 1.0, 1e-2: 0.0, 1e-8: 1.0}


def test_exact_zeros_count_as_elements():
    info = histogram_info(result(layer([1.1e-3] * 3, zeros=1)))
    assert info.shares.sum() == 0.75
    assert info.above[1e-4] == 0.75


def test_a_layer_with_nothing_to_measure_is_an_empty_row():
    empty = Layer(name="dead", numel=4, zeros=4, nonfinite=0, p2=None, p98=None, histogram=Histogram(zeros=4))
    info = histogram_info(result(empty, layer([1.1e-3], name="alive")))
    assert info.shares[0].sum() == 0
    assert np.isnan(info.p2[0])
    assert plot_histogram(info).data[1].z.max() == 255


def test_lines_stand_at_the_ends_of_the_range_and_at_eps():
    figure = plot_histogram(histogram_info(result(layer([1.1e-3])), eps=1e-3))
    assert [(round(line.x0, 9), line.line.dash) for line in figure.layout.shapes] == [
        (-4, "dash"),
        (-2, "dash"),
        (-3, "dot"),
    ]
    assert [note.text for note in figure.layout.annotations] == [
        "ε lower 1e-4",
        "ε upper 1e-2",
        "best ε 1e-3",
    ]


def test_far_ends_of_the_paper_s_range_are_dotted():
    noise = layer(np.geomspace(1e-12, 1e-11, 50), name="noise")
    pooled = result(noise, layer(np.geomspace(1e-5, 1e-2, 9950))).model_copy(update={"range_kind": "pooled"})
    info = histogram_info(pooled)
    assert info.paper == (1e-12,)
    assert info.edges[0] <= -12
    figure = plot_histogram(info)
    assert [(round(line.x0, 9), line.line.dash) for line in figure.layout.shapes][2:] == [(-12, "dot")]
    assert figure.layout.annotations[2].text == "Algorithm 2 1e-12"
    assert histogram_info(pooled.model_copy(update={"range_kind": "paper"})).paper == ()


def test_200_layers_stay_readable_and_small():
    probe = sample.probe(200, "encoder.layers.{}.attention.self.query.weight")
    figure = plot_histogram(histogram_info(probe))
    assert figure.layout.height < 1200
    assert len(figure.layout.yaxis2.ticktext) <= 60
    assert len(figure.to_json()) < 400_000


def test_names_lose_what_all_share_and_then_their_middle():
    assert short_names(["net.0.weight", "net.1.weight"]) == ["0.weight", "1.weight"]
    assert short_names(["weight"]) == ["weight"]
    assert short_names([]) == []
    (name,) = short_names(["x" * 30 + "y" * 30])
    assert name == "xxxxxxxx…yyyyyyyyy"


def test_hostile_names_are_no_markup():
    figure = plot_histogram(histogram_info(result(layer([1e-3], name="<b>x</b>"))))
    assert figure.data[1].y[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert figure.layout.yaxis2.ticktext[0] == "&lt;b&gt;x&lt;/b&gt;"


def test_the_record_draws_itself():
    assert sample.probe().plot().layout.title.text.startswith("Denominator terms")


def test_an_eps_of_zero_has_no_place_on_a_log_axis():
    info = histogram_info(result(layer([1.1e-3])), eps=0.0)
    assert info.eps is None
    assert len(plot_histogram(info).layout.shapes) == 2
