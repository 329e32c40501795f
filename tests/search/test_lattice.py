"""The values of an axis that a guided search tries."""

from __future__ import annotations

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from epsearch.search.lattice import is_numeric, is_positive, points, position


@pytest.mark.parametrize(
    ("distribution", "density", "expected"),
    [
        (FloatDistribution(1e-4, 1e-2, log=True), 1, [1e-4, 1e-3, 1e-2]),
        (FloatDistribution(1e-4, 1e-2, log=True), 2, [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2]),
        (FloatDistribution(2e-3, 2e-2, log=True), 4, [3.162e-3, 5.623e-3, 1e-2, 1.778e-2]),
        (FloatDistribution(2e-3, 8e-3, log=True), 1, [4e-3]),
        (FloatDistribution(0.0, 1.0), 1, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (FloatDistribution(0.0, 0.9, step=0.3), 1, [0.0, 0.3, 0.6, 0.9]),
        (FloatDistribution(0.999, 0.999), 2, [0.999]),
        (FloatDistribution(1e-3, 1e-3, log=True), 2, [1e-3]),
        (IntDistribution(1, 3), 1, [1, 2, 3]),
        (IntDistribution(16, 256, log=True), 2, [32, 100]),
        (IntDistribution(0, 100, step=10), 1, [0, 20, 50, 80, 100]),
        (CategoricalDistribution([0.999, 0.9, 0.99]), 8, [0.9, 0.99, 0.999]),
    ],
    ids=str,
)
def test_points(distribution: BaseDistribution, density: int, expected: list[float]) -> None:
    found = points(distribution, density)
    assert found == pytest.approx(expected, rel=1e-12)
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in found)
    assert isinstance(distribution, FloatDistribution | CategoricalDistribution) or {type(x) for x in found} == {int}


def test_half_decades_are_written_as_people_do() -> None:
    assert [repr(x) for x in points(FloatDistribution(1e-5, 1e-2, log=True), 2)] == [
        "1e-05",
        "3.162e-05",
        "0.0001",
        "0.0003162",
        "0.001",
        "0.003162",
        "0.01",
    ]


def test_what_is_a_number() -> None:
    assert is_numeric(CategoricalDistribution([1e-8, 1]))
    assert not any(is_numeric(CategoricalDistribution(x)) for x in (["relu", 1], [True, False], [None], [float("nan")]))
    assert is_positive(CategoricalDistribution([1e-8, 1]))
    assert not any(map(is_positive, (CategoricalDistribution([0.0, 1e-8]), FloatDistribution(0, 1))))


def test_positions_go_from_0_to_1() -> None:
    beta2 = CategoricalDistribution([0.999, 0.9, 0.99])
    assert [position(x, beta2) for x in (0.9, 0.99, 0.999)] == [0, 0.5, 1]
    decay = FloatDistribution(1e-6, 1e-2, log=True)
    assert [position(x, decay) for x in (1e-6, 1e-4, 1e-2)] == pytest.approx([0, 0.5, 1])
    assert [position(x, IntDistribution(10, 20)) for x in (10, 15, 20)] == [0, 0.5, 1]
    assert position(0.9, FloatDistribution(0.9, 0.9)) == 0
