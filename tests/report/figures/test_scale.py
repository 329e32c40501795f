import sys

import pytest

from epsearch.report.figures.scale import SIGMAS, scale_of


def test_losses_are_logarithmic_up_to_chance():
    scale = scale_of([0.3, 0.6, 2.4, 30.0], "minimize", 2.4, None)
    assert (scale.kind, scale.best, scale.worst) == ("log", 0.3, 2.4)
    assert scale.place(0.3) == 1
    assert scale.place(0.6) == pytest.approx(2 / 3)
    assert scale.place(30.0) < 0
    assert [scale.learns(value) for value in (0.6, 2.38, 30.0)] == [True, False, False]


def test_shares_are_logarithmic_in_the_error():
    scale = scale_of([0.99, 0.9, 0.1], "maximize", 0.1, None)
    assert scale.kind == "error"
    assert scale.place(0.9) == pytest.approx(0.4884, abs=1e-3)
    assert scale.place(0.99) == pytest.approx(1)
    assert scale.learns(0.5)
    assert not scale.learns(0.11)


def test_a_perfect_share_has_a_scale():
    scale = scale_of([1.0, 0.99], "maximize", None, None)
    assert scale.place(1.0) == 1
    assert scale.place(0.995) > 0


def test_noise_does_not_take_the_whole_scale():
    scale = scale_of([0.98, 0.979], "maximize", 0.1, 0.004)
    assert scale.worst == pytest.approx(0.98 - SIGMAS * 0.004)
    assert scale.place(0.979) > 0.9


def test_values_far_from_chance_use_the_whole_scale():
    assert scale_of([0.98, 0.97], "maximize", 0.1, None).worst == 0.97


def test_other_values_are_linear():
    scale = scale_of([-5.0, 3.0], "maximize", None, None)
    assert scale.kind == "linear"
    assert scale.place(-1.0) == pytest.approx(0.5)
    assert scale_of([-3.0, 5.0], "minimize", None, None).place(1.0) == pytest.approx(0.5)
    assert scale_of([], "maximize", None, None) is None


@pytest.mark.parametrize(
    ("values", "goal"),
    [
        ([0.224, 2.31], "minimize"),
        ([0.971, 0.981], "maximize"),
        ([0.1, 0.99], "maximize"),
        ([80.0, 400.0], "minimize"),
        ([-3.0, 5.0], "maximize"),
        ([0.29, 0.31], "minimize"),
    ],
)
def test_ticks_are_round_and_inside(values, goal):
    scale = scale_of(values, goal, None, None)
    ticks = scale.ticks(3)
    assert len(ticks) >= 3
    assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in ticks)
    assert all(len(text.lstrip("-").replace(".", "").lstrip("0")) <= 3 for _, text in ticks)
    assert [place for place, _ in ticks] == sorted(place for place, _ in ticks)


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
@pytest.mark.parametrize("values", [[sys.float_info.max, -sys.float_info.max], [5e-324, 1.7e308], [0.5, 0.5]])
def test_extremes(values, goal):
    scale = scale_of(values, goal, None, sys.float_info.max if values[0] == 0.5 else None)
    assert all(scale.place(value) == scale.place(value) for value in values)
    scale.ticks(3)
