"""Percentiles and histograms from counted bits, beside NumPy sorting the values."""

import math

import numpy as np
import pytest
import torch

from epsearch.optimizers import Denominator
from epsearch.probing import bit_counts, histogram, percentiles
from epsearch.probing.bit_counts import count_bits
from epsearch.probing.histogram import measure_layer
from epsearch.probing.percentiles import percentile
from epsearch.records.epsilon import nearest_power_of_ten
from epsearch.records.histogram import Histogram

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
TERMS = {"root": (3.7, 0.5), "plain": (0.001, 1.0), "cube root": (1.0, 1 / 3)}
QS = [0, 2, 31.4, 50, 98, 100]
HALF_BIN = math.log10(1 + 2**-7) / 2
"""The widest half bin of v's bits, in decades of v."""


def spread(count: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Lognormal values over as many decades as the dtype has to offer."""
    decades = 1.0 if dtype == torch.float16 else 4.0
    random = np.random.default_rng(seed)
    return torch.tensor(10 ** (decades * random.standard_normal(count) - 1), dtype=dtype)


def z_of(v: torch.Tensor, scale: float, power: float) -> np.ndarray:
    values = v.double().numpy().ravel()
    return (scale * values[np.isfinite(values) & (values > 0)]) ** power


@pytest.fixture
def only_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a large tensor: bins decide, and values are looked up only where they must be; in several chunks."""
    monkeypatch.setattr(percentiles, "EXACT_BELOW", 1)
    monkeypatch.setattr(bit_counts, "CHUNK", 777)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("dtype", DTYPES)
class TestPercentile:
    @pytest.mark.parametrize("count", [1, 2, 3, 50, 51, 4000])
    def test_small_tensors_are_exact(self, dtype, term, count):
        v = spread(count, dtype)
        found = [percentile(Denominator(v, *TERMS[term]), count_bits(v), q) for q in QS]
        assert found == pytest.approx(np.percentile(z_of(v, *TERMS[term]), QS), rel=1e-12)

    @pytest.mark.usefixtures("only_counts")
    @pytest.mark.parametrize("seed", range(5))
    def test_large_tensors_are_within_half_a_bin(self, dtype, term, seed):
        v = spread(5000, dtype, seed)
        scale, power = TERMS[term]
        for q in QS:
            exact = np.percentile(z_of(v, scale, power), q)
            found = percentile(Denominator(v, scale, power), count_bits(v), q)
            assert abs(math.log10(found / exact)) <= HALF_BIN * power * 1.001
            assert nearest_power_of_ten(found) == nearest_power_of_ten(exact)

    @pytest.mark.usefixtures("only_counts")
    @pytest.mark.parametrize("k", [-2, -1, 0, 1])
    def test_the_boundary_of_rounding_is_crossed_where_it_is(self, dtype, term, k):
        """All elements one float below 10**(k + 1/2) round down, at it or above they round up."""
        scale, power = TERMS[term]
        boundary = torch.tensor(10 ** ((k + 0.5) / power) / scale, dtype=dtype)
        if not 0 < boundary < math.inf:
            pytest.skip("beyond this dtype")
        below, above = (torch.nextafter(boundary, boundary * factor) for factor in (0, 2))
        for value in (below, boundary, above):
            v = value.repeat(3000)
            exact = np.percentile(z_of(v, scale, power), 2)
            # Within rounding of the boundary itself, either side is right.
            if abs(math.log10(exact) - (k + 0.5)) > 1e-12:
                found = percentile(Denominator(v, scale, power), count_bits(v), 2)
                assert nearest_power_of_ten(found) == pytest.approx(
                    10.0 ** (k + (value > 0) * (exact > 10 ** (k + 0.5)))
                )

    @pytest.mark.usefixtures("only_counts")
    def test_a_boundary_inside_the_bin_of_the_percentile(self, dtype, term):
        """Half of the elements one float below the boundary, half one above: the bin does not tell, the values do."""
        scale, power = TERMS[term]
        boundary = torch.tensor(10 ** (0.5 / power) / scale, dtype=dtype)
        # In float64, neighbours of the boundary are closer than arithmetic with it is exact.
        near = 1e-12 if dtype == torch.float64 else torch.finfo(dtype).eps
        v = torch.cat([(boundary * (1 + side * near)).repeat(1000) for side in (-1, 1)])[torch.randperm(2000)]
        for q in (10, 90):
            exact = np.percentile(z_of(v, scale, power), q)
            found = percentile(Denominator(v, scale, power), count_bits(v), q)
            assert abs(math.log10(found / exact)) <= HALF_BIN * power * 1.001
            assert nearest_power_of_ten(found) == nearest_power_of_ten(exact) == (1 if q == 10 else 10)


@pytest.mark.usefixtures("only_counts")
def test_a_percentile_in_a_wide_gap_is_interpolated():
    """Between two heaps the bins say nothing."""
    v = torch.cat([torch.full((50,), 1.1), torch.full((51,), 9.0)])
    found = percentile(Denominator(v, 1.0, 1.0), count_bits(v), 49.5)
    assert found == pytest.approx(np.percentile(v.double().numpy(), 49.5), rel=1e-12)
    assert 1.2 < found < 8.9


def test_the_threshold_is_where_it_says(monkeypatch):
    monkeypatch.setattr(percentiles, "EXACT_BELOW", 100)
    exactly = []
    for count in (99, 101):  # odd: the median is one element's, not between two
        v = spread(count, torch.float32)
        exactly.append(
            percentile(Denominator(v, 1.0, 0.5), count_bits(v), 50)
            == pytest.approx(np.percentile(z_of(v, 1.0, 0.5), 50), rel=1e-12)
        )
    assert exactly == [True, False]


class TestCounts:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_element_is_counted_once(self, dtype):
        tiny = torch.finfo(dtype).smallest_normal / 4
        values = [0.0, -0.0, -0.0, tiny, tiny, -tiny, -1.0, math.inf, -math.inf, math.nan, -math.nan, 1.0, 2.0]
        counts = count_bits(torch.tensor(values, dtype=torch.float64).to(dtype))
        assert (counts.zeros, counts.measured, counts.nonfinite) == (3, 4, 6)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_smallest_and_largest(self, dtype):
        info = torch.finfo(dtype)
        v = torch.tensor([info.smallest_normal, info.max, 0], dtype=dtype)
        v[2] = torch.nextafter(v[2], v[1])
        layer = measure_layer("w", Denominator(v, 1.0, 0.5), (0, 100))
        values = np.sqrt(np.sort(v.double().numpy()))
        assert (layer.p2, layer.p98) == pytest.approx((values[0], values[2]), rel=1e-9)
        assert layer.histogram.total == 3

    def test_shapes_and_strides(self):
        v = spread(6 * 5 * 4, torch.float32)
        flat = measure_layer("w", Denominator(v, 1.0, 0.5), (2, 98))
        for shaped in (v.view(6, 5, 4).transpose(0, 2), v.view(5, 6, 2, 2).to(memory_format=torch.channels_last)):
            assert measure_layer("w", Denominator(shaped, 1.0, 0.5), (2, 98)) == flat
        one = measure_layer("w", Denominator(torch.tensor(4.0), 1.0, 0.5), (2, 98))
        assert (one.numel, one.p2, one.p98) == (1, pytest.approx(2), pytest.approx(2))
        assert one.histogram.above(1.0) == 1.0

    def test_nothing_to_measure(self):
        for v in (torch.zeros(3), torch.full((3,), math.nan), torch.empty(0), torch.tensor([-1.0])):
            layer = measure_layer("w", Denominator(v, 1.0, 0.5), (2, 98))
            assert (layer.p2, layer.p98, layer.histogram.counts) == (None, None, [])
            assert layer.zeros + layer.nonfinite == layer.numel


class TestHistogram:
    @pytest.mark.usefixtures("only_counts")
    @pytest.mark.parametrize("term", TERMS)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_shares_above_powers_of_ten_are_exact(self, dtype, term):
        scale, power = TERMS[term]
        v = torch.cat([spread(3000, dtype), torch.zeros(100, dtype=dtype)])
        # Ties, close to a power of ten of z on both sides.
        v = torch.cat([v, torch.tensor([0.98, 1.02], dtype=dtype).repeat(500) / scale])
        v = torch.cat([v, torch.tensor([2e-40, 3e-42], dtype=dtype).repeat(10)])
        made = measure_layer("w", Denominator(v, scale, power), (2, 98)).histogram
        z = z_of(v, scale, power)
        assert sum(made.counts) == z.size
        assert made.total == v.numel()
        for k in range(-50, 20):
            # A bfloat16 is often a power of ten exactly; it counts as above, whatever rounding makes of its z.
            assert made.above(float(f"1e{k}")) == np.count_nonzero(z > 10.0**k * (1 - 1e-12)) / v.numel()

    def test_what_equals_a_power_of_ten_is_in_the_bin_that_begins_there(self):
        made = measure_layer("w", Denominator(torch.ones(7), 1.0, 0.5), (2, 98)).histogram
        assert [made.above(eps) for eps in (0.1, 1.0, 1.05)] == [1, 1, 0]

    def test_bins_hold_what_numpy_puts_there(self):
        v = spread(200_000, torch.float32)
        made = measure_layer("w", Denominator(v, 1.0, 0.5), (2, 98)).histogram
        edges = np.arange(made.start, made.start + len(made.counts) + 1) / histogram.BINS_PER_DECADE
        expected, _ = np.histogram(np.log10(z_of(v, 1.0, 0.5)), bins=edges)
        # An edge shares out a bit bin a tenth as wide.
        assert np.abs(np.array(made.counts) - expected).max() < 0.1 * expected.max()
        assert np.abs(np.cumsum(made.counts) - np.cumsum(expected)).max() < 0.02 * expected.max() + 10

    def test_merging_is_the_histogram_of_both(self):
        parts = [spread(3000, torch.float32, seed) for seed in (1, 2)]
        parts[1] = torch.cat([parts[1] * 1e6, torch.zeros(5)])
        one, two, both = (
            measure_layer("w", Denominator(v, 1.0, 0.5), (2, 98)).histogram for v in (*parts, torch.cat(parts))
        )
        merged = one.merge(two)
        assert merged == two.merge(one)
        assert (merged.total, merged.zeros) == (both.total, both.zeros)
        for k in range(-20, 20):
            assert merged.above(10.0**k) == both.above(10.0**k)
        assert one.merge(Histogram()) == one
        assert Histogram(zeros=2).merge(Histogram(zeros=3)) == Histogram(zeros=5)

    def test_above_between_edges_is_in_proportion(self):
        made = Histogram(start=0, counts=[10], zeros=10)
        assert made.above(10**0.01) == pytest.approx(0.25)
        assert [made.above(eps) for eps in (1e-9, 1.0, 10**0.02, 1e9)] == pytest.approx([0.5, 0.5, 0, 0])
        assert math.isnan(Histogram().above(1.0))
