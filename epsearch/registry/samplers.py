"""Samplers, pruners and schedulers that a study can name."""

from __future__ import annotations

from typing import NamedTuple


class SamplerRow(NamedTuple):
    """A sampler: `path` is None for the grid, whose cells are enqueued.

    `points` says whether it can choose among points, `independent` whether what it draws next does not depend on
    the outcome of earlier trials.
    """

    path: str | None
    points: bool
    independent: bool
    note: str


SAMPLERS: dict[str, SamplerRow] = {
    "grid": SamplerRow(None, True, True, "every cell once"),
    "random": SamplerRow("optuna.samplers:RandomSampler", True, True, "independent draws"),
    "tpe": SamplerRow("epsearch.search.tpe:sampler", True, False, "tree-structured Parzen estimator"),
    "gp": SamplerRow("optuna.samplers:GPSampler", True, False, "Gaussian process"),
    "cmaes": SamplerRow("optuna.samplers:CmaEsSampler", False, False, "CMA-ES; needs the extra epsearch[cmaes]"),
    "qmc": SamplerRow("optuna.samplers:QMCSampler", False, True, "quasi-random (Sobol) sequence"),
}


PRUNERS: dict[str, str] = {
    "none": "optuna.pruners:NopPruner",
    "median": "optuna.pruners:MedianPruner",
    "percentile": "optuna.pruners:PercentilePruner",
    "hyperband": "optuna.pruners:HyperbandPruner",
    "successive_halving": "optuna.pruners:SuccessiveHalvingPruner",
    "wilcoxon": "optuna.pruners:WilcoxonPruner",
}


class SchedulerRow(NamedTuple):
    """A scheduler of Ray Tune, which the engine ray takes for a pruner; `arguments` are given to its class."""

    path: str
    arguments: dict[str, float]
    note: str


SCHEDULERS: dict[str, SchedulerRow] = {
    "asha": SchedulerRow(
        "ray.tune.schedulers:AsyncHyperBandScheduler",
        {"stop_last_trials": False},
        "asynchronous successive halving: the best quarter goes on after epochs 1, 4, 16 …",
    ),
    "tune_hyperband": SchedulerRow(
        "ray.tune.schedulers:AsyncHyperBandScheduler",
        {"stop_last_trials": False, "brackets": 3},
        "asynchronous HyperBand: asha in three brackets, which begin at epochs 1, 4 and 16",
    ),
    "tune_median": SchedulerRow(
        "ray.tune.schedulers:MedianStoppingRule",
        {"grace_period": 1, "min_time_slice": float("inf")},
        "stops a trial whose best value is below the median of the others' running means",
    ),
}
"""Those that stop trials. Ray's others pause them and go on later, which takes a checkpoint of every epoch."""
