import numpy as np
import pytest

from epsearch.records.epsilon import EpsilonRange
from epsearch.records.histogram import Histogram
from epsearch.records.probe import EpochReading, ProbeHistory
from epsearch.report.figures.history import fraction_info, history_info, plot_fractions, plot_history
from tests.report import sample


def one_epoch(*values: float, zeros: int = 0, eps: float | None = None) -> ProbeHistory:
    histogram = sample.histogram(np.array(values)).model_copy(update={"zeros": zeros})
    reading = EpochReading(epoch=1, range=EpsilonRange(lower=1e-4, upper=1e-2), histogram=histogram)
    return ProbeHistory(optimizer="Adam", epochs=[reading], settings={"eps": eps})


class TestHistograms:
    def test_are_those_of_the_slow_obvious_way(self):
        info = history_info(sample.history())
        assert info.epochs == (1, 3, 5, 6, 8, 10)
        assert info.shares.shape == (6, len(info.edges) - 1)
        np.testing.assert_allclose(np.diff(info.edges), 0.1)
        for epoch, shares in zip(info.epochs, info.shares, strict=True):
            counts, _ = np.histogram(np.log10(sample.z(epoch)), bins=info.edges)
            np.testing.assert_allclose(shares, counts / 4000)

    def test_the_share_above_the_eps_in_use(self):
        info = history_info(sample.history(3))
        assert info.eps == 1e-3
        assert info.above == pytest.approx([np.mean(sample.z(epoch) > 1e-3) for epoch in (1, 2, 3)])

    @pytest.mark.parametrize(("epochs", "shown"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 3, 4, 5, 6))])
    def test_few_epochs_are_all_shown(self, epochs, shown):
        assert history_info(sample.history(epochs)).epochs == shown

    def test_the_first_and_the_last_of_many(self):
        epochs = history_info(sample.history(200), most=4).epochs
        assert (len(epochs), epochs[0], epochs[-1]) == (4, 1, 200)

    def test_the_bins_reach_over_the_eps_in_use(self):
        assert history_info(sample.history(2, eps=1e-9)).edges[0] == -9

    def test_exact_zeros_count_as_elements(self):
        info = history_info(one_epoch(1.1e-3, 1.1e-3, 1.1e-3, zeros=1))
        assert info.shares.sum() == 0.75


class TestHistogramFigure:
    def test_a_row_for_each_epoch_and_one_line(self):
        figure = plot_history(history_info(sample.history()))
        assert [trace.type for trace in figure.data] == ["bar"] * 6
        (line,) = figure.layout.shapes
        assert line.x0 == line.x1 == -3
        texts = [note.text for note in figure.layout.annotations]
        first = np.mean(sample.z(1) > 1e-3)
        assert texts[0] == f"epoch 1 · {first:.2%} above ε"
        assert texts[-1] == "ε 1e-3"
        assert f"{first:.2%} after epoch 1" in figure.layout.title.subtitle.text

    def test_one_scale_for_all_rows(self):
        figure = plot_history(history_info(sample.history()))
        ranges = {figure.layout[f"yaxis{row}"].range for row in ("", 2, 3, 4, 5, 6)}
        assert len(ranges) == 1

    def test_without_eps_there_is_no_line(self):
        figure = plot_history(history_info(sample.history(1, eps=None)))
        assert len(figure.layout.shapes) == 0
        assert [note.text for note in figure.layout.annotations] == ["epoch 1"]

    def test_the_record_draws_itself(self):
        assert sample.history().plot().layout.title.text == "Denominator terms ẑ over the training"
        assert sample.history().plot_adaptive_fraction().layout.title.text == "Adaptive share of ẑ over the training"

    def test_its_size_is_that_of_a_figure(self):
        assert len(plot_history(history_info(sample.history(200))).to_json()) < 100_000


class TestFractions:
    def test_are_table_2_of_every_epoch(self):
        info = fraction_info(sample.history(4))
        assert info.epochs == (1, 2, 3, 4)
        expected = [[np.mean(sample.z(epoch) > eps) for eps in info.eps] for epoch in info.epochs]
        np.testing.assert_allclose(info.shares, expected)
        assert info.used == 1e-3

    def test_the_powers_of_ten_at_which_something_happens(self):
        """And one beyond at either end; not the decades that a few elements reach into."""
        many, few = np.geomspace(2e-5, 9e-3, 10_000), np.full(5, 3e-13)
        assert fraction_info(one_epoch(*many, *few)).eps == (1e-5, 1e-4, 1e-3, 1e-2)

    def test_the_eps_in_use_is_always_among_them(self):
        assert fraction_info(one_epoch(1.1e-3, eps=3e-8)).eps == (3e-8, 1e-3, 1e-2)

    def test_zeros_are_above_no_eps(self):
        info = fraction_info(one_epoch(1.1e-3, zeros=1))
        assert info.eps == (1e-3, 1e-2)
        assert info.shares.tolist() == [[0.5, 0.0]]

    def test_a_line_for_each_eps(self):
        figure = plot_fractions(fraction_info(sample.history(3)))
        names = [trace.name for trace in figure.data]
        assert "ε 1e-3 (in use)" in names
        assert "ε 1e-2" in names
        (used,) = [trace for trace in figure.data if "in use" in trace.name]
        assert list(used.x) == [1, 2, 3]
        assert used.customdata[0] == f"{np.mean(sample.z(1) > 1e-3):.2%}"
        assert figure.layout.xaxis.dtick == 1

    def test_many_epochs_have_few_ticks(self):
        assert plot_fractions(fraction_info(sample.history(200))).layout.xaxis.dtick == 20


def test_an_empty_histogram_is_not_asked_for():
    """Nothing measurable is not recorded, so that every reading has counts."""
    reading = EpochReading(epoch=1, range=EpsilonRange(lower=1e-4, upper=1e-2), histogram=Histogram(zeros=3))
    info = history_info(ProbeHistory(optimizer="Adam", epochs=[reading], settings={"eps": 1e-3}))
    assert info.shares.sum() == 0
