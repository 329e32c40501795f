"""Where lr is searched if it is auto."""

from __future__ import annotations

import pytest

from epsearch.records.ridge import Ridge
from epsearch.study.box import WIDE, Box
from epsearch.study.space import Ridged
from tests.report import sample

EPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


def test_the_box_follows_the_ridge() -> None:
    probe, test = sample.probe(), sample.lr_test()
    ridge, box = Ridge.of(probe, test), Box(probe, test)
    assert ridge is not None
    assert box.at(1e-6) == pytest.approx((3e-4, 3e-2))
    for eps in EPS:
        low, high = box.at(eps)
        assert (low * 10, high / 10) == pytest.approx((ridge.lr(eps), ridge.lr(eps)))
    assert ridge.lr(1e-2) > 3 * ridge.lr(1e-6)
    hull = box.hull(EPS)
    assert (hull.low, hull.high) == pytest.approx((box.at(1e-6)[0], box.at(1e-2)[1]), rel=0.01)


def test_a_grid_tries_what_is_nearest_to_the_ridge() -> None:
    probe, test = sample.probe(), sample.lr_test()
    ridge, points = Ridge.of(probe, test), Box(probe, test).points(EPS)
    assert ridge is not None
    assert isinstance(points, Ridged)
    assert points.at[1e-6] == (0.003162, 0.001, 0.01)
    assert points.at[1e-2][0] > points.at[1e-6][0]
    assert all(rates[0] / ridge.lr(eps) == pytest.approx(1, rel=0.8) for eps, rates in points.at.items())


def test_a_curve_that_tells_nothing() -> None:
    """The box is wide, and rises with ε only at its upper end."""
    box = Box(sample.probe(), sample.lr_test(None))
    assert box.points(EPS) == WIDE
    low, high = box.at(1e-2)
    assert box.at(1e-6) == (1e-5, 1.0)
    assert low == 1e-5
    assert high == pytest.approx(10 ** (sample.probe().lr_shift(1e-2) - sample.probe().lr_shift(1e-6)))
