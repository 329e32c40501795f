"""The constrained space at its edges."""

from __future__ import annotations

import math

import pytest

from epsearch.space import Interval, Points, auto_beta2, beta2_decades, beta2_of, cells, decades, exponent_of


@pytest.mark.parametrize("exponent", range(-300, 301, 7))
def test_exponents_survive_every_way_of_writing_them(exponent: int) -> None:
    assert exponent_of(float(f"1e{exponent}")) == exponent
    assert exponent_of(10.0**exponent) == exponent
    assert exponent_of(math.nextafter(10.0**exponent, math.inf)) == exponent


@pytest.mark.parametrize("value", [0.0, -0.1, 3e-4, 0.11, 0.1000001, math.inf, math.nan])
def test_no_power_of_ten(value: float) -> None:
    assert exponent_of(value) is None


def test_decades() -> None:
    assert decades(1e-4, 1e-1) == Points((1e-4, 1e-3, 1e-2, 1e-1))
    assert decades(1.0, 10.0) == Points((1.0, 10.0))
    assert decades(1e-3, 1e-3) == Points((1e-3,))
    assert decades(1e-10, 1e10).values == tuple(float(f"1e{k}") for k in range(-10, 11))


@pytest.mark.parametrize(("low", "high"), [(3e-4, 1e-1), (1e-4, 0.5), (1e-1, 1e-4), (0, 1), (-1, 1), (1, math.inf)])
def test_decades_refuse(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no ascending range of powers of ten"):
        decades(low, high)


def test_beta2_decades() -> None:
    assert beta2_decades(0.9, 0.999) == Points((0.9, 0.99, 0.999))
    assert beta2_decades(0.99, 0.99) == Points((0.99,))
    assert beta2_decades(0.9, 0.9999999).values[-1] == 0.9999999
    with pytest.raises(ValueError, match="powers of ten"):
        beta2_decades(0.9, 0.95)
    with pytest.raises(ValueError, match="powers of ten"):
        beta2_decades(0.999, 0.9)
    with pytest.raises(ValueError, match="powers of ten"):
        beta2_decades(0.9, 1.0)


def test_beta2_is_written_as_people_write_it() -> None:
    assert [beta2_of(float(f"1e-{k}")) for k in range(1, 8)] == [0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999]


@pytest.mark.parametrize(
    ("batches", "beta2"),
    [
        (1, 0.99),  # the epoch would be content with 0; β₁ = 0.9 asks for 0.99
        (10, 0.99),
        (100, 0.99),
        (101, 0.999),
        (391, 0.999),  # CIFAR-10 in batches of 128
        (668, 0.999),  # Penn TreeBank: 1/(1-β₂) >= 668 needs β₂ >= 0.9985
        (1000, 0.999),
        (1001, 0.9999),
        (10_000, 0.9999),
        (10_001, 0.99999),
        (100_000, 0.99999),
    ],
)
def test_auto_beta2_averages_over_an_epoch(batches: int, beta2: float) -> None:
    found = auto_beta2(batches, beta1=0.9)
    assert found == beta2
    assert 1 / (1 - found) >= batches * (1 - 1e-9)


@pytest.mark.parametrize(
    ("beta1", "beta2"), [(0.0, 0.9), (0.5, 0.99), (0.9, 0.99), (0.95, 0.999), (0.99, 0.999), (0.999, 0.9999)]
)
def test_auto_beta2_is_well_above_beta1(beta1: float, beta2: float) -> None:
    found = auto_beta2(1, beta1)
    assert found == beta2
    assert 1 - found <= (1 - beta1) / 10 * (1 + 1e-9)


@pytest.mark.parametrize(("batches", "beta1"), [(0, 0.9), (-5, 0.9), (100, 1.0), (100, -0.1)])
def test_auto_beta2_refuses(batches: int, beta1: float) -> None:
    with pytest.raises(ValueError, match="needs batches_per_epoch >= 1"):
        auto_beta2(batches, beta1)


def test_cells_vary_the_first_axis_slowest() -> None:
    space = {"lr": Points((1e-3, 1e-2)), "eps": Points((1e-8,)), "beta2": Points((0.9, 0.99))}
    assert cells(space) == [
        {"lr": 1e-3, "eps": 1e-8, "beta2": 0.9},
        {"lr": 1e-3, "eps": 1e-8, "beta2": 0.99},
        {"lr": 1e-2, "eps": 1e-8, "beta2": 0.9},
        {"lr": 1e-2, "eps": 1e-8, "beta2": 0.99},
    ]
    assert cells({"lr": Points((0.1,))}) == [{"lr": 0.1}]


def test_a_continuous_axis_has_no_cells() -> None:
    with pytest.raises(ValueError, match="eps is continuous"):
        cells({"lr": Points((0.1,)), "eps": Interval(1e-8, 1e-2)})
