"""The constrained space at its edges."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from epsearch.records.epsilon import half_decade
from epsearch.study.space import (
    Interval,
    Points,
    Ridged,
    auto_beta2,
    beta2_decades,
    beta2_of,
    cells,
    decades,
    exponent_of,
    half_decades,
)


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
    with pytest.raises(ValueError, match="not an ascending range of powers of ten"):
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


SIZES = [
    (4, 5, 3),
    (4, 5),
    (5, 5),
    (7,),
    (4, 21, 3),
    (3, 2, 3),
    (2, 2, 2),
    (6, 9, 4),
    (1, 5, 1),
    (4, 4, 4),
    (10, 10, 10),
    (1,),
]


def grid_of(sizes: tuple[int, ...]) -> dict[str, Points]:
    """Axes whose points are their own indices."""
    return {f"axis {axis}": Points(tuple(map(float, range(size)))) for axis, size in enumerate(sizes)}


def test_cells_are_every_combination_once() -> None:
    space = {"lr": Points((1e-3, 1e-2)), "eps": Points((1e-8,)), "beta2": Points((0.9, 0.99))}
    assert cells(space) == [
        {"lr": 1e-3, "eps": 1e-8, "beta2": 0.9},
        {"lr": 1e-2, "eps": 1e-8, "beta2": 0.99},
        {"lr": 1e-3, "eps": 1e-8, "beta2": 0.99},
        {"lr": 1e-2, "eps": 1e-8, "beta2": 0.9},
    ]
    assert cells({"lr": Points((0.1,))}) == [{"lr": 0.1}]
    for sizes in [*SIZES, (10, 25, 40)]:
        found = [tuple(cell.values()) for cell in cells(grid_of(sizes))]
        assert sorted(found) == list(itertools.product(*(map(float, range(size)) for size in sizes)))


@pytest.mark.parametrize("sizes", SIZES)
def test_cells_visit_every_value_of_an_axis_equally_often(sizes: tuple[int, ...]) -> None:
    """After as many cells as an axis has values, each of them has been tried; and so on, at every moment."""
    counts = [Counter(dict.fromkeys(range(size), 0)) for size in sizes]
    for cell in cells(grid_of(sizes)):
        for axis, index in enumerate(cell.values()):
            counts[axis][int(index)] += 1
            assert max(counts[axis].values()) - min(counts[axis].values()) <= 1


@pytest.mark.parametrize("sizes", SIZES)
def test_the_first_half_of_the_cells_leaves_no_gap(sizes: tuple[int, ...]) -> None:
    """Whatever is missing then has a neighbor that was run."""
    found = [tuple(cell.values()) for cell in cells(grid_of(sizes))]
    half = found[: (len(found) + 1) // 2]
    for cell in found:
        assert min(max(abs(one - other) for one, other in zip(cell, run, strict=True)) for run in half) <= 1


@pytest.mark.parametrize("sizes", [(4, 5, 3), (4, 5), (5, 5), (7,), (6, 9, 4)])
def test_cells_begin_in_the_middle(sizes: tuple[int, ...]) -> None:
    first = next(iter(cells(grid_of(sizes)))).values()
    assert all(abs(index - (size - 1) / 2) <= 0.5 for index, size in zip(first, sizes, strict=True))


def test_half_decades() -> None:
    assert [half_decade(index) for index in range(-7, 3)] == [
        *(3.162e-4, 1e-3, 3.162e-3, 1e-2, 3.162e-2, 1e-1, 0.3162, 1.0, 3.162, 10.0)
    ]
    ridge = {1e-6: 1.1e-3, 1e-4: 5e-3, 1e-2: 0.3}
    assert half_decades(list(ridge), ridge.__getitem__) == Ridged(
        {1e-6: (1e-3, 3.162e-3, 3.162e-4), 1e-4: (3.162e-3, 1e-2, 1e-3), 1e-2: (0.3162, 0.1, 1.0)}
    )


def test_cells_along_the_ridge() -> None:
    """The nearest lr of every ε first, then the second nearest; within each round, spread over ε and β₂."""
    epsilons = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    lr = half_decades(epsilons, lambda eps: 10 * eps**0.5)
    space = {"lr": lr, "eps": Points(epsilons), "beta2": Points((0.9, 0.99))}
    found = cells(space)
    assert len(found) == len({tuple(cell.items()) for cell in found}) == 30
    assert list(found[0]) == ["lr", "eps", "beta2"]
    assert [lr.at[cell["eps"]].index(cell["lr"]) for cell in found] == [0] * 10 + [1] * 10 + [2] * 10
    others = [{name: cell[name] for name in ("eps", "beta2")} for cell in found]
    assert others == 3 * cells({name: space[name] for name in ("eps", "beta2")})


def test_a_continuous_axis_has_no_cells() -> None:
    with pytest.raises(ValueError, match="eps is continuous"):
        cells({"lr": Points((0.1,)), "eps": Interval(1e-8, 1e-2)})
