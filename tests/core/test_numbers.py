import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import label, number, ordinal, percent, rounded
from epsearch.records.text import describe_cell, measured
from epsearch.report.figures.text import plotly_text
from tests.report.sample import trial


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("lr", 1e-5, "1e-5"),
        ("lr", 1.0, "1e0"),
        ("lr", 0.0003, "3e-4"),
        ("eps", 0.0015, "1.5e-3"),
        ("eps", 1e10, "1e10"),
        ("eps", 0.0, "0"),
        ("beta2", 0.9, "0.9"),
        ("beta2", 0.999, "0.999"),
        ("beta2", 0.0, "0"),
    ],
)
def test_a_value_is_written_shortly(name, value, text):
    assert label(name, value) == text
    assert rounded(name, value) == text


def test_labels_tell_neighbouring_floats_apart_and_rounding_does_not():
    near = [1.0001e-3, 1.0002e-3]
    assert len({label("lr", value) for value in near}) == 2
    assert {rounded("lr", value) for value in near} == {"1e-3"}
    assert rounded("beta2", 0.99876543) == "0.99877"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.912, "0.9120"),
        (82.3, "82.30"),
        (1234.4, "1234"),
        (-0.5, "-0.5000"),
        (1e9, "1.000e+09"),
        (999.94, "999.9"),
        (999.97, "1000"),
        (-999.97, "-1000"),
        (999_949.0, "999949"),
        (999_999.7, "1.000e+06"),
        (1e-4, "0.0001000"),
        (9.99999e-5, "0.0001000"),
        (9.9e-5, "9.900e-05"),
        (-0.0, "0.000"),
        (1.7e308, "1.700e+308"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_metric_has_four_digits(value, text):
    assert number(value) == text


def test_spread_is_told_with_the_number_of_seeds():
    assert measured(trial(0, 0.912)) == "0.9120"
    assert measured(trial(0, 0.912, spread=0.0013, seed_values=[0.911, 0.913])) == "0.9120 ± 0.0013 (2 seeds)"
    assert measured(trial(0)) == "no value"


def test_words():
    assert describe_cell(trial(0, lr=1e-3, eps=1e-2, beta2=0.999)) == "α 1e-3, ε 1e-2, β₂ 0.999"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_user_given_text_is_one_short_line_without_markup():
    assert one_line("a\n b\t c") == "a b c"
    assert one_line("学" * 200, limit=10) == "学" * 9 + "…"
    assert plotly_text('<a href="x">&</a>') == '&lt;a href="x"&gt;&amp;&lt;/a&gt;'


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (2e-7, "2e-5%"),
        (4e-5, "4e-3%"),
        (6e-5, "0.01%"),
        (0.0033, "0.33%"),
        (0.615, "61.50%"),
        (0.9999, "99.99%"),
        (0.99999, ">99.99%"),
        (1.0, "100%"),
    ],
)
def test_a_share_is_written_as_in_table_2(share, text):
    assert percent(share) == text


FINITE = st.floats(-1e307, 1e307)
POSITIVE = st.floats(1e-300, 1e300)
SHARES = st.floats(0, 1)
EDGES = [each for edge in (999.95, 999.5, 1000.0, 999_999.5, 1e6, 1e-4) for each in (math.nextafter(edge, 0), edge)]


@given(FINITE)
@example(999.97)
@example(-0.0)
def test_a_number_reads_back_as_nearly_itself(value):
    text = number(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?", text), text
    assert float(text) == pytest.approx(value, rel=6e-4)
    assert ("e" in text) == (float(text) != 0 and not 1e-4 <= abs(float(text)) < 1e6)


@given(FINITE, FINITE)
@example(999.97, 1000.4)
@example(999_999.4, 999_999.6)
def test_numbers_keep_their_order(one, other):
    low, high = sorted([one, other])
    assert float(number(low)) <= float(number(high))


def test_numbers_keep_their_order_at_the_edges():
    shown = [float(number(value)) for value in sorted(EDGES)]
    assert shown == sorted(shown)


def share_of(text):
    return math.nextafter(1, 0) if text == ">99.99%" else float(text.removesuffix("%")) / 100


@given(SHARES, SHARES)
@example(0.0, 5e-324)
@example(math.nextafter(5e-5, 0), 5e-5)
@example(math.nextafter(0.99995, 0), 0.99995)
@example(math.nextafter(1, 0), 1.0)
@example(0.9999, math.nextafter(0.99995, 0))
def test_shares_keep_their_order_and_only_none_and_all_are_0_and_100(one, other):
    low, high = sorted([one, other])
    assert share_of(percent(low)) <= share_of(percent(high))
    for share in (low, high):
        assert re.fullmatch(r">?\d+(\.\d+)?(e-\d+)?%", percent(share))
        assert (share_of(percent(share)) == 0) == (share == 0)
        assert (share_of(percent(share)) == 1) == (share == 1)
        assert share_of(percent(share)) == pytest.approx(share, rel=0.5, abs=5.1e-5)


@given(st.sampled_from(["lr", "eps", "beta2"]), POSITIVE)
@example("beta2", 1e-300)
@example("lr", 1e16)
def test_a_label_reads_back_as_itself(name, value):
    text = label(name, value)
    assert float(text) == value
    assert re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", text), text
    if name != "beta2" or value < 1e6:
        assert len(text) <= 24


@given(st.sampled_from(["lr", "eps"]), POSITIVE, POSITIVE)
def test_rounded_values_keep_their_order(name, one, other):
    low, high = sorted([one, other])
    assert float(rounded(name, low)) <= float(rounded(name, high))
    assert float(rounded(name, low)) == pytest.approx(low, rel=5.1e-3)
    assert rounded(name, float(rounded(name, low))) == rounded(name, low)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
@example(0.9999999999999999, 0.999999999999999)
@example(0.999, math.nextafter(0.999, 1))
@example(0.0, 5e-324)
def test_a_rounded_beta2_has_three_digits_of_what_is_missing_to_1(one, other):
    low, high = sorted([one, other])
    assert float(rounded("beta2", low)) <= float(rounded("beta2", high)) < 1
    assert 1 - float(rounded("beta2", high)) == pytest.approx(1 - high, rel=5.1e-3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0th"),
        (1, "1st"),
        (2.0, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (98.0, "98th"),
        (97.5, "97.5th"),
        (0.1, "0.1th"),
        (100, "100th"),
        (111, "111th"),
    ],
)
def test_ordinals(value, text):
    assert ordinal(value) == text
