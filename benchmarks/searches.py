"""The searches that search_comparison.py compares: each is a generator of trials looked up in a dense table."""

from __future__ import annotations

import itertools
import json
import math
import random
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import optuna
from dense import RESULTS, Cell, Table, read
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from epsearch import GuidedSampler
from epsearch.probing.lr_curve import read_curve
from epsearch.records.lr_test import LrTest
from epsearch.records.ridge import Ridge

DEFAULT_EPS = {"adam": 1e-8, "rmsprop": 1e-8, "adabelief": 1e-16}
"""The default eps of each optimizer."""

PROBE = 1
"""Epochs of a probe."""

Step = tuple[float, list[float]]
"""Epochs spent on a trial, and its metrics."""


class Search(NamedTuple):
    """A search: its trials for a table and a seed, and the epochs it spends before the first one."""

    trials: Callable[[Table, int], Iterator[Step]]
    before: Callable[[Table], float] = lambda _: 0
    slow: bool = False
    """Whether it takes so long that fewer seeds must do."""


def spent(table: Table, curve: list[float]) -> int:
    """Epochs of a whole trial, including the one in which it diverged."""
    return min(len(curve) + 1, table.epochs)


@cache
def _tests() -> dict[str, list[LrTest]]:
    return {
        f"{row['workload']} {row['optimizer']}": _read_tests(row)
        for row in json.loads((RESULTS / "lr_tests.json").read_text())["tests"]
    }


def _read_tests(row: dict[str, Any]) -> list[LrTest]:
    """The tests of one table, as their curves are read now."""
    tests = []
    for losses in row["losses"]:
        lrs = row["lrs"][: len(losses)]
        reading = read_curve(lrs, losses)._asdict()
        tests.append(LrTest(optimizer=row["optimizer"], eps=row["eps"], lrs=lrs, losses=losses, **reading))
    return tests


def tested(table: Table, seed: int) -> LrTest:
    """The learning-rate test of this table with this seed."""
    tests = _tests()[table.name]
    return tests[seed % len(tests)]


def ridge(table: Table, seed: int) -> Ridge:
    """The ridge of this table through the test with this seed; through lr 1e-3 if the test suggests nothing."""
    return Ridge.of(table.probe, tested(table, seed)) or Ridge(table.probe, 1e-3, table.found.lower)


def probe_cost(_: Table) -> float:
    """Epochs of the probe."""
    return PROBE


def probe_and_test(table: Table) -> float:
    """Epochs of the probe and of the learning-rate test."""
    return PROBE + len(tested(table, 0).lrs) / table.batches_per_epoch


def in_order(cells: Callable[[Table, int], list[Cell]], before: Callable[[Table], float] = lambda _: 0) -> Search:
    """Cells one after another."""

    def search(table: Table, seed: int) -> Iterator[Step]:
        for cell in cells(table, seed):
            curve = table.curves[table.cell(*cell)]
            yield spent(table, curve), curve

    return Search(search, before)


def shuffled(eps: Callable[[Table], list[float]]) -> Callable[[Table, int], list[Cell]]:
    """Every lr with these eps, in an order shuffled by the seed."""

    def cells(table: Table, seed: int) -> list[Cell]:
        found = list(itertools.product(table.lrs, eps(table)))
        random.Random(seed).shuffle(found)
        return found

    return cells


def by_ridge(table: Table, seed: int) -> list[Cell]:
    """Every cell of the range, in the order of its distance from the ridge."""
    at = ridge(table, seed)
    cells = list(itertools.product(table.lrs, table.found.grid()))
    random.Random(seed).shuffle(cells)
    return sorted(cells, key=lambda cell: abs(math.log10(cell[0] / at.lr(cell[1]))))


def listed(table: Table, seed: int) -> list[Cell]:
    """A fixed list of good cells, learned from all other workloads with this optimizer (Metz et al. 2020, TaskSet).

    Each next cell is the one that lowers most the sum of the losses left on those tables.
    """
    return list(_list_for(table.workload, table.optimizer))


def _data(workload: str) -> str:
    """The data of a workload: tables of the same data are not learned from."""
    return workload.rpartition("-")[0].removesuffix("-mlp")


def _loss(table: Table, cell: Cell) -> float:
    """The loss left at a cell, at most 1, as where it diverged."""
    return min(max(table.lost(table.smoothed[cell]), 0.0), 1.0) if cell in table.smoothed else 1.0


@cache
def _list_for(workload: str, optimizer: str) -> tuple[Cell, ...]:
    others = [each for each in read() if each.optimizer == optimizer and _data(each.workload) != _data(workload)]
    left = [1.0] * len(others)
    cells = list(itertools.product(others[0].lrs, others[0].epss))
    losses = {cell: [_loss(each, each.cell(*cell)) for each in others] for cell in cells}
    chosen: list[Cell] = []
    for _ in range(min(40, len(cells))):
        best = min(cells, key=lambda cell: sum(map(min, left, losses[cell])))
        left = list(map(min, left, losses[best]))
        cells.remove(best)
        chosen.append(best)
    return tuple(chosen)


def sampled(
    sampler: Callable[[Table, int, dict[str, BaseDistribution]], optuna.samplers.BaseSampler],
    space: Callable[[Table, int], dict[str, BaseDistribution]],
    before: Callable[[Table], float] = lambda _: 0,
    *,
    hyperband: bool = False,
    slow: bool = False,
) -> Search:
    """Ask-and-tell with an Optuna sampler; with `hyperband`, its pruner decides on the tables' epochs."""

    def search(table: Table, seed: int) -> Iterator[Step]:
        axes = space(table, seed)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if hyperband:
            pruner = optuna.pruners.HyperbandPruner(max_resource=table.epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(direction=table.goal, sampler=sampler(table, seed, axes), pruner=pruner)
        pick = max if table.goal == "maximize" else min
        while True:
            trial = study.ask(fixed_distributions=axes)
            curve = table.curves[table.cell(trial.params["lr"], trial.params["eps"])]
            seen: list[float] = []
            pruned = False
            for step, value in enumerate(curve, start=1):
                seen.append(value)
                if hyperband:
                    trial.report(value, step)
                    if pruned := step < len(curve) and trial.should_prune():
                        break
            if pruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            elif seen:
                study.tell(trial, pick(seen))
            else:
                trial.set_user_attr("fail_reason", "diverged")
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            yield len(seen) if pruned else spent(table, curve), seen

    return Search(search, before, slow)


def tpe(_: Table, seed: int, __: dict[str, BaseDistribution]) -> optuna.samplers.BaseSampler:
    """Optuna's TPE."""
    return optuna.samplers.TPESampler(seed=seed)


def gp(_: Table, seed: int, __: dict[str, BaseDistribution]) -> optuna.samplers.BaseSampler:
    """Optuna's Gaussian process."""
    return optuna.samplers.GPSampler(seed=seed)


def guided(table: Table, seed: int, axes: dict[str, BaseDistribution]) -> optuna.samplers.BaseSampler:
    """epsearch's sampler."""
    probe = table.probe.model_copy(update={"range": table.found, "range_kind": "pooled"})
    return GuidedSampler(probe, test=tested(table, seed), seed=seed, space=axes)


def wide(low: float, high: float) -> Callable[[Table, int], dict[str, BaseDistribution]]:
    """Every lr of the table and eps, both log-uniform."""

    def space(table: Table, _: int) -> dict[str, BaseDistribution]:
        lr = FloatDistribution(table.lrs[0], table.lrs[-1], log=True)
        return {"lr": lr, "eps": FloatDistribution(low, high, log=True)}

    return space


def in_range(table: Table, _: int) -> dict[str, BaseDistribution]:
    """Every lr of the table and the probed range of eps, both log-uniform."""
    return wide(table.found.lower, table.found.upper)(table, 0)


def in_box(table: Table, seed: int) -> dict[str, BaseDistribution]:
    """The probed range of eps, and the lr within a decade of the ridge over it."""
    at = ridge(table, seed)
    lrs = [at.lr(eps) for eps in table.found.grid()]
    low, high = max(min(lrs) / 10, table.lrs[0]), min(max(lrs) * 10, table.lrs[-1])
    return {**in_range(table, seed), "lr": FloatDistribution(low, high, log=True)}


def on_points(table: Table, _: int) -> dict[str, BaseDistribution]:
    """Every lr of the table, log-uniform, and the powers of ten of the probed range."""
    lr = FloatDistribution(table.lrs[0], table.lrs[-1], log=True)
    return {"lr": lr, "eps": CategoricalDistribution(table.found.grid())}


GUIDED, ORDERED, WIDE, GP_RANGE = "guided", "grid by distance from the ridge", "TPE, 1e-10 to 1e+10", "GP in the range"

SEARCHES: dict[str, Search] = {
    GUIDED: sampled(guided, on_points, probe_and_test),
    ORDERED: in_order(by_ridge, probe_and_test),
    "TPE in the box": sampled(tpe, in_box, probe_and_test),
    "GP in the box": sampled(gp, in_box, probe_and_test, slow=True),
    GP_RANGE: sampled(gp, in_range, probe_cost, slow=True),
    "grid of the range, shuffled": in_order(shuffled(lambda table: table.found.grid()), probe_cost),
    "TPE in the range": sampled(tpe, in_range, probe_cost),
    WIDE: sampled(tpe, wide(1e-10, 1e10)),
    "TPE, 1e-16 to 1e-5": sampled(tpe, wide(1e-16, 1e-5)),
    "GP, 1e-10 to 1e+10": sampled(gp, wide(1e-10, 1e10), slow=True),
    "Hyperband, 1e-10 to 1e+10": sampled(tpe, wide(1e-10, 1e10), hyperband=True),
    "a list learned from the others": in_order(listed),
    "the default eps": in_order(shuffled(lambda table: [DEFAULT_EPS[table.optimizer]])),
}
