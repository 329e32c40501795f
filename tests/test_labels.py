import pytest

from epsearch.labels import label, listed, measured, number, one_line, percent, place, plotly_text, rounded
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
    [(0.912, "0.9120"), (82.3, "82.30"), (1234.4, "1234"), (-0.5, "-0.5000"), (1e9, "1.000e+09")],
)
def test_a_metric_has_four_digits(value, text):
    assert number(value) == text


def test_spread_is_told_with_the_number_of_seeds():
    assert measured(trial(0, 0.912)) == "0.9120"
    assert measured(trial(0, 0.912, spread=0.0013, seed_values=[0.911, 0.913])) == "0.9120 ± 0.0013 (2 seeds)"
    assert measured(trial(0)) == "no value"


def test_words():
    assert place(trial(0, lr=1e-3, eps=1e-2, beta2=0.999)) == "α 1e-3, ε 1e-2, β₂ 0.999"
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
