import pytest

from epsearch.records.ridge import sgd_lrs


def test_sgd_is_searched_around_the_ridge_in_half_decades():
    assert sgd_lrs(1e-2 / 1e-2) == [0.1, 0.3162, 1, 3.162, 10]
    assert sgd_lrs(0.08, decades=0.5) == [0.03162, 0.1, 0.3162]
    assert len(sgd_lrs(3e-5, decades=2)) == 9


@pytest.mark.parametrize("rate", [1e-12, 7.7e5])
def test_its_middle_is_the_nearest_half_decade(rate):
    assert sgd_lrs(rate)[2] == pytest.approx(rate, rel=0.8)
