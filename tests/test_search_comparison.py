"""The simulation of searches, on a table with known results."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import pytest

from tests.report import sample

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("dense", "searches", "search_comparison")

LRS = [10.0**k for k in range(-4, 1)]
EPSS = [10.0**k for k in range(-8, 1)]
BEST = (1e-2, 1e-3)


@pytest.fixture
def dense(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import dense

    yield dense
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def comparison(dense, monkeypatch):
    import search_comparison
    import searches

    others = [make(dense, workload="other-mlp"), make(dense, workload="third-mlp", best=(1e-1, 1e-3))]
    same_data = make(dense, workload="some-cnn", best=(1e-4, 1e-3))
    monkeypatch.setattr(searches, "_tests", lambda: {"some-mlp adam": [sample.lr_test()]})
    monkeypatch.setattr(searches, "read", lambda: iter([same_data, *others]))
    return search_comparison


def make(dense, workload="some-mlp", goal="maximize", best=BEST):
    """Best after its second epoch at one lr, at one ε and at the same value on both sides; the highest lr diverges."""

    def curve(lr, eps):
        if lr == LRS[-1]:
            return [0.1] if eps == EPSS[0] else []
        return [0.1, 0.9] if lr == best[0] and abs(math.log10(eps / best[1])) < 1.5 else [0.1, 0.2]

    curves = {cell: curve(*cell) for cell in itertools.product(LRS, EPSS)}
    return dense.Table(workload, "adam", goal, 2, 30, curves, sample.probe())


@pytest.fixture
def table(dense):
    return make(dense)


def test_suggestions_become_the_nearest_cell(dense, table):
    assert table.cell(0.02, 2e-3) == (1e-2, 1e-3)
    assert table.cell(1e-3, 1e10) == (1e-3, 1.0)
    assert dense.nearest([1e-4, 1e-2], 1e-16) == 1e-4


def test_the_best_is_smoothed_over_eps(table):
    assert (1.0, 1e-3) not in table.values
    assert table.smoothed[1e-2, 1e-3] == pytest.approx(0.9)
    assert table.smoothed[1e-2, 1e-2] == pytest.approx((0.9 + 0.9 + 0.2) / 3)
    assert table.best == pytest.approx(0.9)
    assert table.lost(0.2) == pytest.approx(7 / 9)


def test_a_loss_is_better_if_it_is_lower(dense):
    table = make(dense, goal="minimize")
    assert table.best == pytest.approx(0.1)
    assert table.lost(0.2) == pytest.approx(1)
    assert table.lost(0.05) == pytest.approx(-0.5)


def test_the_tolerance_knows_the_noise_of_the_plateau(dense, table):
    assert table.plateau == [1e-8, 1e-7]
    assert table.tolerance == dense.CLOSE
    noisy = dict(table.curves)
    for eps, value in zip(table.plateau, (0.88, 0.92), strict=True):
        noisy[1e-2, eps] = [value]
    other = dense.Table("some-mlp", "adam", "maximize", 2, 30, noisy, table.probe)
    assert other.noise == pytest.approx(0.04 / math.sqrt(2) / other.best)
    assert other.tolerance == pytest.approx(2 * other.noise)


def test_epochs_to_the_goal_include_what_came_before_and_diverged_trials(comparison, table):
    from searches import spent

    diverged, poor, good = (table.curves[cell] for cell in [(1.0, 1e-4), (1e-3, 1e-4), BEST])
    steps = [(spent(table, curve), curve) for curve in (diverged, poor, good)]
    found = comparison.course(table, steps, start=1.5)
    assert found == [(1.5 + 1 + 2, pytest.approx(7 / 9)), (1.5 + 1 + 2 + 2, 0)]
    assert comparison.epochs_to(0.005, found) == 6.5
    assert comparison.epochs_to(0.005, found[:1]) == math.inf
    assert [comparison.lost_at(found, epochs) for epochs in (3, 4.5, 5, 6.5, 99)] == [1, *[found[0][1]] * 2, 0, 0]


def test_the_budget_counts_whole_trials(comparison, table):
    poor, good = table.curves[1e-3, 1e-4], table.curves[BEST]
    steps = [(2, poor), (2, poor), (2, good)]
    assert comparison.epochs_to(0.005, comparison.course(table, steps, trials=3)) == 6
    assert comparison.epochs_to(0.005, comparison.course(table, steps, start=1, trials=3)) == math.inf


def test_quartiles_with_seeds_that_never_reach_the_goal(comparison):
    assert comparison.quartiles([4, math.inf, 2, 1]) == (1, 2, 4)


def test_a_seed_repeats_a_search(comparison, table):
    for label, search in comparison.SEARCHES.items():
        steps = [list(itertools.islice(search.trials(table, 3), 8)) for _ in range(2)]
        assert steps[0] == steps[1], label
        assert len(steps[0]) == (len(LRS) if label == "the default eps" else 8), label


def test_what_is_spent_before_the_first_trial(comparison, table):
    """An epoch for the probe; the learning-rate test counts by its steps."""
    steps = len(sample.lr_test().lrs)
    before = {label: search.before(table) for label, search in comparison.SEARCHES.items()}
    assert before[comparison.GUIDED] == before[comparison.ORDERED] == 1 + steps / 30
    assert before["TPE in the range"] == before[comparison.GP_RANGE] == 1
    assert before[comparison.WIDE] == before["a list learned from the others"] == 0


def test_the_ordered_grid_begins_on_the_ridge(comparison, table):
    import searches

    at = searches.ridge(table, 0)
    cells = searches.by_ridge(table, 0)
    away = [abs(math.log10(lr / at.lr(eps))) for lr, eps in cells]
    assert away == sorted(away)
    assert {eps for _, eps in cells} == set(table.found.grid())


def test_a_list_is_learned_from_other_workloads(comparison, table):
    """What is best on each of two tables comes first; a table of the same data is left out.

    Where a table diverged counts as worst, also in tables whose metric is to be high.
    """
    import searches

    searches._list_for.cache_clear()
    first, second = searches.listed(table, 0)[:2]
    assert {first[0], second[0]} == {1e-2, 1e-1}
    searches._list_for.cache_clear()


def test_the_tables_of_the_page(comparison, table):
    """One search is faster than TPE over the wide range, one slower, the others never reach the goal."""
    ends = {label: [[(8.0, 0.9)]] for label in comparison.SEARCHES}
    ends[comparison.WIDE] = [[(8.0, 0.004)]]
    ends[comparison.GUIDED] = [[(2.0, 0.2), (4.0, 0.005)]]
    ends[comparison.GP_RANGE] = [[(16.0, 0.0)]]
    found, tables = {"some-mlp adam": ends}, {"some-mlp adam": table}
    text = comparison.to_goal(found, tables)
    row = dict(zip(*(line.strip("| ").split(" | ") for line in text.splitlines()[::2]), strict=True))
    arrived = {comparison.WIDE: "8", comparison.GUIDED: "4", comparison.GP_RANGE: "16"}
    assert {label: row[label] for label in comparison.SEARCHES} == dict.fromkeys(comparison.SEARCHES, "–") | arrived
    assert (row["epochs of a trial"], row["tolerance, %"]) == ("2", "0.5")
    lines = comparison.summary(found, tables).splitlines()
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    rows = {cells[0]: cells[1:] for cells in (line.strip("| ").split(" | ") for line in lines[2:])}
    assert rows[comparison.GUIDED] == ["0.50", "–", "1 of 1", "0.50", "1 of 1", "0.25", "0.50", "0.50", "0.50"]
    assert rows[comparison.GP_RANGE][:5] == ["2.00", "–", "0 of 1", "2.00", "1 of 1"]
    assert rows["the default eps"][:5] == ["–", "–", "0 of 1", "–", "0 of 1"]
