import math
import statistics
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from epsearch.core.averages import difference, mean, root_mean_square, smoothed, spread

VALUES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=10)
ORDINARY = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=10)


@given(VALUES)
@example([1.7e308, 1.7e308])
@example([1.7e308, -1.7e308])
@example([5e-324, 5e-324])
def test_of_any_finite_values_all_are_finite(values):
    assert min(values) <= mean(values) <= max(values)
    assert 0 <= root_mean_square(values) <= max(map(abs, values))
    assert spread(values) is None if len(values) == 1 else 0 <= spread(values) <= sys.float_info.max


def test_a_difference_is_finite():
    assert difference(3.0, 1.0) == 2.0
    assert difference(1.7e308, -1.7e308) == -difference(-1.7e308, 1.7e308) == sys.float_info.max


@given(ORDINARY)
def test_of_ordinary_values_they_are_the_usual_ones(values):
    assert mean(values) == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-12)
    assert spread(values) == pytest.approx(statistics.stdev(values))
    squares = statistics.fmean(value**2 for value in values)
    assert root_mean_square(values) == pytest.approx(math.sqrt(squares), rel=1e-9, abs=1e-150)


def test_a_spread_beyond_the_largest_float_is_that():
    assert spread([1.7e308, -1.7e308]) == sys.float_info.max
    assert spread([1.7e308, 1.6e308]) == pytest.approx(7.07e306, rel=1e-3)


def test_a_smoothed_constant_is_that_constant_from_the_first():
    assert smoothed([3.0] * 5) == pytest.approx([3.0] * 5)
    assert smoothed([]) == []


@given(ORDINARY)
def test_smoothed_values_are_weighted_means(values):
    """Of which each weighs `keep` as much as the next; sorted, each is the median of its neighbors."""
    values = sorted(values)
    *_, last = smoothed(values, keep=0.5)
    weights = [0.5**age for age in reversed(range(len(values)))]
    expected = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    assert last == pytest.approx(expected, abs=1e-6)


def test_one_outlier_does_not_count():
    assert smoothed([1.0, 1.0, 90.0, 1.0, 1.0]) == pytest.approx([1.0] * 5)
