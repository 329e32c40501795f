"""The simulation of searches, on a table with known results."""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from epsearch.records.lr_test import LrTest
from tests.report.sample import probe

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    """The modules, which import one another from their folder."""
    sys.path.insert(0, str(FOLDER))
    names = ("dense", "searches", "search_comparison")
    found = ModuleType("benchmarks")
    for name in names:
        setattr(found, name, importlib.import_module(name))
    yield found
    sys.path.remove(str(FOLDER))
    for name in names:
        del sys.modules[name]


LRS, EPSS = (1e-3, 1e-2, 1e-1), (1e-12, 1e-11, 1e-10, 1e-4, 1e-3)
BEST = (1e-2, 1e-3)


@pytest.fixture
def table(benchmarks):
    """Best at lr 1e-2 and eps 1e-3, in the second epoch; one cell diverged at once, equal eps differ by 2 %."""
    curves = {(lr, eps): [0.1, 0.5] for lr, eps in itertools.product(LRS, EPSS)}
    curves |= {(1e-2, eps): [0.1, value] for eps, value in zip(EPSS[:3], (0.88, 0.9, 0.92), strict=True)}
    curves |= {(1e-2, 1e-4): [0.1, 0.96], BEST: [0.1, 1.0], (1e-1, 1e-4): []}
    return benchmarks.dense.Table("some", "adam", "maximize", 2, 50, curves, probe())


@pytest.fixture
def test_at_the_best(benchmarks, monkeypatch):
    test = LrTest(
        optimizer="Adam",
        eps=1e-8,
        lrs=[1e-3] * 100,
        losses=[1.0] * 100,
        suggestion=1e-2,
        low=1e-3,
        high=1e-1,
        reason="",
    )
    monkeypatch.setattr(benchmarks.searches, "tested", lambda *_: test)


class TestGoal:
    def test_the_best_is_smoothed_over_neighboring_eps(self, table):
        assert table.smoothed[1e-2, 1e-11] == pytest.approx(0.9)
        assert table.best == table.smoothed[BEST] == pytest.approx(0.98)
        assert table.lost(0.931) == pytest.approx(0.05)
        assert table.lost(1.0) < 0

    def test_the_noise_is_that_of_equal_eps_at_a_good_lr(self, table):
        assert table.plateau == [1e-12, 1e-11, 1e-10]
        assert table.noise == pytest.approx(0.02 / 0.98)
        assert table.tolerance == pytest.approx(0.04 / 0.98)

    def test_cells_that_do_not_learn_are_no_noise(self, benchmarks, table):
        wild = {**table.curves, (1e-1, 1e-12): [0.1, 0.3], (1e-1, 1e-10): [0.1, 0.1]}
        same = benchmarks.dense.Table("some", "adam", "maximize", 2, 50, wild, table.probe)
        assert same.noise == table.noise

    def test_the_tolerance_is_half_a_percent_at_least(self, benchmarks, table):
        flat = {cell: [1.0, 1.0] for cell in table.curves}
        assert benchmarks.dense.Table("some", "adam", "minimize", 2, 50, flat, table.probe).tolerance == 0.005


def test_suggestions_become_the_nearest_cell(benchmarks, table):
    assert table.cell(0.02, 2e-3) == BEST
    assert table.cell(1e-3, 1e10) == (1e-3, 1e-3)
    assert benchmarks.dense.nearest([1e-4, 1e-2], 1e-16) == 1e-4


def test_epochs_to_the_goal_include_what_came_before_and_diverged_trials(benchmarks, table):
    comparison, searches = benchmarks.search_comparison, benchmarks.searches
    diverged, poor, good = (table.curves[cell] for cell in [(1e-1, 1e-4), (1e-3, 1e-4), BEST])
    steps = [(searches.spent(table, curve), curve) for curve in (diverged, poor, good)]
    found = comparison.course(table, steps, start=1.5)
    assert found == [(1.5 + 1 + 2, pytest.approx(0.48 / 0.98)), (1.5 + 1 + 2 + 2, 0)]
    assert comparison.epochs_to(table.tolerance, found) == 6.5
    assert comparison.epochs_to(table.tolerance, found[:1]) == math.inf
    assert [comparison.lost_at(found, epochs) for epochs in (3, 4.5, 6, 6.5, 99)] == [1, found[0][1], found[0][1], 0, 0]


def test_the_budget_counts_whole_trials(benchmarks, table):
    comparison = benchmarks.search_comparison
    poor, good = table.curves[1e-3, 1e-4], table.curves[BEST]
    steps = [(2, poor), (2, poor), (2, good)]
    assert comparison.epochs_to(table.tolerance, comparison.course(table, steps, trials=3)) == 6
    assert comparison.epochs_to(table.tolerance, comparison.course(table, steps, start=1, trials=3)) == math.inf


def test_quartiles_with_seeds_that_never_reach_the_goal(benchmarks):
    assert benchmarks.search_comparison.quartiles([4, math.inf, 2, 1]) == (1, 2, 4)


@pytest.mark.usefixtures("test_at_the_best")
def test_a_seed_repeats_a_search(benchmarks, table, monkeypatch):
    monkeypatch.setattr(benchmarks.searches, "read", lambda: [table])
    names = [name for name, search in benchmarks.searches.SEARCHES.items() if not search.slow]
    assert len(names) == 10
    for name in names:
        search = benchmarks.searches.SEARCHES[name]
        if name == "a list learned from the others":
            continue  # there are no others
        steps = [list(itertools.islice(search.trials(table, 3), 3)) for _ in range(2)]
        assert steps[0] == steps[1], name
        assert search.before(table) in (0, 1, 1 + 100 / 50)


@pytest.mark.usefixtures("test_at_the_best")
def test_the_grid_by_the_ridge_starts_on_it(benchmarks, table):
    at = benchmarks.searches.ridge(table, 0)
    cells = benchmarks.searches.by_ridge(table, 0)
    distances = [abs(math.log10(lr / at.lr(eps))) for lr, eps in cells]
    assert distances == sorted(distances)
    assert {eps for _, eps in cells} == set(table.found.grid())


def test_a_list_is_learned_from_other_data_only(benchmarks, table, monkeypatch):
    """The first lr is the best of the others, not of this table or of another with its data."""
    curves = {cell: [0.1, 0.5] for cell in table.curves}
    other = benchmarks.dense.Table(
        "other-net", "adam", "maximize", 2, 50, {**curves, (1e-1, 1e-4): [0.1, 1.0]}, probe()
    )
    same = benchmarks.dense.Table("some-long", "adam", "maximize", 2, 50, {**curves, (1e-3, 1e-4): [0.1, 9.0]}, probe())
    some = benchmarks.dense.Table("some-net", "adam", "maximize", 2, 50, table.curves, probe())
    monkeypatch.setattr(benchmarks.searches, "read", lambda: [some, other, same])
    benchmarks.searches._list_for.cache_clear()
    assert benchmarks.searches.listed(some, 0)[0][0] == 1e-1
    benchmarks.searches._list_for.cache_clear()


def test_the_tables_of_the_page(benchmarks, table):
    """One search is faster than TPE over the wide range, one slower, the others never reach the goal."""
    comparison, searches = benchmarks.search_comparison, benchmarks.searches
    ends = {label: [(8, 0.9)] for label in searches.SEARCHES}
    ends[searches.WIDE] = [(8, 0.004)]
    ends[searches.GUIDED] = [(2, 0.2), (4, 0.005)]
    ends[searches.GP_RANGE] = [(16, 0.0)]
    found = {"some adam": {label: [one] for label, one in ends.items()}}
    tables = {"some adam": table}
    rows = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")
        for line in comparison.summary(found, tables).splitlines()
    }
    assert rows[searches.GUIDED][1:7] == ["0.50", "–", "1 of 1", "0.50", "1 of 1", "0.25"]
    assert rows[searches.GUIDED][7:] == ["0.50", "0.50", "0.50"]
    assert rows[searches.WIDE][1:7] == ["1.00", "–", "0 of 1", "1.00", "1 of 1", "0.50"]
    assert rows[searches.ORDERED][1:7] == ["–", "–", "0 of 1", "–", "0 of 1", "–"]
    (row,) = comparison.to_goal(found, tables).splitlines()[2:]
    assert row.strip("| ").split(" | ")[:5] == ["some adam", "2", f"{100 * table.tolerance:.1f}", "4", "–"]


def test_ridges_are_compared_at_the_level_of_the_small_eps(benchmarks, table):
    sys.path.insert(0, str(FOLDER))
    try:
        ridges = importlib.import_module("ridges")
    finally:
        sys.path.remove(str(FOLDER))
    # The best lr is 1e-2 at every eps.
    assert set(ridges.best_lrs(table).values()) == {-2.0}
    off = ridges.errors(table, lambda _, eps: np.log10(1 + eps / 1e-4))
    assert off == {1e-4: pytest.approx(-np.log10(2)), 1e-3: pytest.approx(-np.log10(11))}
