"""The simulation of searches, on a table with known results."""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
from pathlib import Path

import pytest

from epsearch.records.epsilon import EpsilonRange

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
    return comparison.Table("maximize", 2, curves, EpsilonRange(lower=1e-4, upper=1e-2), "adam", 1e-3)


def test_suggestions_become_the_nearest_cell(table):
    assert table.curve(0.02, 2e-3) == [0.1, 0.9]
    assert table.curve(1e-3, 1e10) == table.curves[1e-3, 1e-2]
    assert comparison.nearest([1e-4, 1e-2], 1e-16) == 1e-4


def test_epochs_to_the_goal_include_the_probe_and_diverged_trials(table):
    diverged, poor, good = (table.curves[cell] for cell in [(1e-2, 1e-4), (1e-3, 1e-4), (1e-2, 1e-3)])
    steps = [(comparison.spent(table, curve), curve) for curve in (diverged, poor, good)]
    found = comparison.course(table, steps, start=1)
    assert found == [(1 + 1 + 2, pytest.approx(7 / 9)), (1 + 1 + 2 + 2, 0)]
    assert comparison.epochs_to_goal(found) == 6
    assert comparison.epochs_to_goal(found[:1]) == math.inf
    assert [comparison.lost_at(found, epochs) for epochs in (3, 4, 5, 6, 99)] == [1, found[0][1], found[0][1], 0, 0]


def test_the_budget_counts_whole_trials(table, monkeypatch):
    monkeypatch.setattr(comparison, "TRIALS", 3)
    poor, good = table.curves[1e-3, 1e-4], table.curves[1e-2, 1e-3]
    assert comparison.epochs_to_goal(comparison.course(table, [(2, poor), (2, poor), (2, good)])) == 6
    assert comparison.epochs_to_goal(comparison.course(table, [(2, poor), (2, poor), (2, good)], start=1)) == math.inf


def test_quartiles_with_seeds_that_never_reach_the_goal():
    assert comparison.quartiles([4, math.inf, 2, 1]) == (1, 2, 4)


def test_a_seed_repeats_a_search_and_endpoints_miss_values_between_them(table):
    for start, search in comparison.SEARCHES.values():
        steps = [list(itertools.islice(search(table, 3), 8)) for _ in range(2)]
        assert steps[0] == steps[1]
        assert start in (0, 1)
    _, endpoints = comparison.SEARCHES["b: endpoints"]
    _, grid = comparison.SEARCHES["a: grid of the range"]
    assert comparison.epochs_to_goal(comparison.course(table, endpoints(table, 0))) == math.inf
    assert comparison.epochs_to_goal(comparison.course(table, grid(table, 0))) < math.inf


def test_the_effective_lr_becomes_an_lr_at_each_eps(table):
    """If eps is far above ẑ, lr / eps is sampled: the same η is a larger lr."""
    assert comparison.denominator(table, 1.0) / comparison.denominator(table, 0.1) == pytest.approx(1.001 / 0.101)
    squared = comparison.Table("maximize", 2, table.curves, table.found, "adabelief", 1e-8)
    assert comparison.denominator(squared, 3e-8) == pytest.approx(2e-4)


def test_the_tables_of_the_page():
    """One search is faster than TPE over the wide range, one slower, the others never reach the goal."""
    ends = {label: [(8, 0.9)] for label in comparison.SEARCHES}
    ends["d: TPE, 1e-10 to 1e+10"] = [(8, 0.004)]
    ends["a: grid of the range"] = [(2, 0.2), (4, 0.005)]
    ends["f: random, 1e-10 to 1e+10"] = [(16, 0.0)]
    text = comparison.to_goal({"some": {label: [one] for label, one in ends.items()}})
    _, _, row, ratio, wins = (line.strip("| ").split(" | ") for line in text.splitlines())
    assert row == ["some", "4", "–", "–", "8", "–", "16", "–", "–", "–"]
    assert ratio == ["**median of the ratio to d**", "0.50", "–", "–", "1.00", "–", "2.00", "–", "–", "–"]
    assert wins == [
        "sooner than d in",
        "1 of 1",
        "0 of 1",
        "0 of 1",
        "0 of 1",
        "0 of 1",
        "0 of 1",
        "0 of 1",
        "0 of 1",
        "0 of 1",
    ]
