"""The simulation of searches, on a table whose answers are known."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import pytest

from epsearch.records import EpsilonRange

FILE = Path(__file__).parents[1] / "benchmarks" / "search_comparison.py"
spec = importlib.util.spec_from_file_location("search_comparison", FILE)
assert spec is not None
assert spec.loader is not None
comparison = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = comparison
spec.loader.exec_module(comparison)


@pytest.fixture
def table():
    """Best at lr 1e-2, eps 1e-3 in its second epoch; one cell diverged at once."""
    curves = {cell: [0.1, 0.2] for cell in itertools.product([1e-3, 1e-2], [1e-4, 1e-3, 1e-2])}
    curves |= {(1e-2, 1e-3): [0.1, 0.9], (1e-2, 1e-4): []}
    return comparison.Table("maximize", 2, 0.9, curves, EpsilonRange(lower=1e-4, upper=1e-2))


def test_what_is_drawn_is_the_nearest_cell_and_beyond_the_ends_the_end(table):
    assert table.curve(0.02, 2e-3) == [0.1, 0.9]
    assert table.curve(1e-3, 1e10) == table.curves[1e-3, 1e-2]
    assert comparison.nearest([1e-4, 1e-2], 1e-16) == 1e-4


def test_epochs_are_counted_until_a_trial_comes_close_with_the_probe_and_the_diverged(table):
    diverged, poor, good = (table.curves[cell] for cell in [(1e-2, 1e-4), (1e-3, 1e-4), (1e-2, 1e-3)])
    steps = [(comparison.spent(table, curve), curve) for curve in (diverged, poor, good)]
    assert comparison.epochs_to_target(table, steps, start=1) == 1 + 1 + 2 + 2
    assert comparison.epochs_to_target(table, steps[:2]) is None


def test_every_search_is_repeated_by_its_seed_and_the_endpoints_miss_what_lies_between(table):
    for start, search in comparison.SEARCHES.values():
        steps = [list(itertools.islice(search(table, 3), 8)) for _ in range(2)]
        assert steps[0] == steps[1]
        assert start in (0, 1)
    _, endpoints = comparison.SEARCHES["b: endpoints"]
    _, grid = comparison.SEARCHES["a: grid of the range"]
    assert comparison.epochs_to_target(table, endpoints(table, 0)) is None
    assert comparison.epochs_to_target(table, grid(table, 0)) is not None
