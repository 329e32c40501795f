import pytest

from epsearch.report.figures.axes import is_grid, log_axis
from tests.report.sample import trial


def trials(name, values):
    return [trial(number, **{name: value}) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("lr", [1e-3], True),
        ("lr", [1e-3, 3e-4, 1.25e-2], True),
        ("lr", [0.00123456789], False),
        ("lr", [1e-3, 0.00123456789], False),
        ("lr", [10**-3.5, 10**-3.5, 10**-2.5, 10**-2.5], True),
        ("beta2", [0.9, 0.99, 0.999, 0.9999], True),
        ("beta2", [0.9876543], False),
        ("eps", [], True),
    ],
)
def test_points_are_round_or_shared(name, values, expected):
    assert is_grid(trials(name, values), name) is expected


def test_a_lost_trial_run_again_makes_no_grid():
    assert not is_grid(trials("lr", [0.00123456, 0.00123456, 0.00345678]), "lr")


def test_ticks_are_whole_decades_where_there_are_two():
    assert log_axis("lr", [1e-4, 1e-3, 1e-1])["dtick"] == 1
    assert log_axis("eps", [1e-16, 1e4])["dtick"] == 3
    assert "dtick" not in log_axis("lr", [1e-3, 3e-3])
    assert "dtick" not in log_axis("lr", [])
