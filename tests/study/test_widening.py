"""What a grid adds where its best lr is at an edge."""

from __future__ import annotations

import pytest

from epsearch.study.space import Points, Ridged, cells
from epsearch.study.widening import beyond

SPACE = {
    "lr": Ridged({1e-6: (1e-3, 3.162e-3, 3.162e-4), 1e-4: (3.162e-3, 1e-3, 1e-2), 1e-2: (1e-1, 3.162e-2, 3.162e-1)}),
    "eps": Points((1e-6, 1e-4, 1e-2)),
}


@pytest.mark.parametrize("lr", [1e-3, 3.162e-3])
def test_nothing_within(lr: float) -> None:
    grid = [*cells(SPACE), {"lr": 3.162e-2, "eps": 1e-4}, {"lr": 3.162e-4, "eps": 1e-4}]
    assert beyond(grid, {"lr": lr, "eps": 1e-4}) == []


def test_upwards() -> None:
    """Two half decades at its ε and both neighbors, each beyond its own edge, the nearest first."""
    assert beyond(cells(SPACE), {"lr": 1e-2, "eps": 1e-4}) == [
        {"lr": 3.162e-2, "eps": 1e-4},
        {"lr": 1e-2, "eps": 1e-6},
        {"lr": 1.0, "eps": 1e-2},
        {"lr": 1e-1, "eps": 1e-4},
        {"lr": 3.162e-2, "eps": 1e-6},
        {"lr": 3.162, "eps": 1e-2},
    ]


def test_downwards_at_the_end_of_the_range() -> None:
    assert beyond(cells(SPACE), {"lr": 3.162e-4, "eps": 1e-6}) == [
        {"lr": 1e-4, "eps": 1e-6},
        {"lr": 3.162e-4, "eps": 1e-4},
        {"lr": 3.162e-5, "eps": 1e-6},
        {"lr": 1e-4, "eps": 1e-4},
    ]


def test_every_beta2() -> None:
    grid = cells({**SPACE, "beta2": Points((0.9, 0.99, 0.999))})
    added = beyond(grid, {"lr": 1e-2, "eps": 1e-4, "beta2": 0.99})
    assert len(added) == len({tuple(cell.items()) for cell in added}) == 2 * 3 * 3
    assert {cell["beta2"] for cell in added[:3]} == {0.9, 0.99, 0.999}


@pytest.mark.parametrize(("edge", "further"), [(3.162e-8, [1e-8]), (1e-8, []), (316.2, [1e3]), (1e3, [])])
def test_it_ends(edge: float, further: list[float]) -> None:
    grid = [{"lr": lr, "eps": 1e-4} for lr in (edge, 1e-2)]
    assert [cell["lr"] for cell in beyond(grid, grid[0])] == further


def test_powers_of_ten() -> None:
    """Where the test suggested nothing."""
    grid = cells({"lr": Points((1e-4, 1e-3, 1e-2, 1e-1)), "eps": Points((1e-8,))})
    assert beyond(grid, {"lr": 1e-1, "eps": 1e-8}) == [{"lr": 0.3162, "eps": 1e-8}, {"lr": 1.0, "eps": 1e-8}]
