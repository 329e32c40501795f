"""Samplers, pruners and schedulers that a study can name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class SamplerRow(NamedTuple):
    """A sampler.

    Attributes:
        path: `module:class`; None for the grid, whose cells are queued.
        points: Whether it can choose among given values, not only from a continuous range.
        independent: Whether its draws do not depend on the results of earlier trials.
        note: Shown by `epsearch list`.
    """

    path: str | None
    points: bool
    independent: bool
    note: str


SAMPLERS: dict[str, SamplerRow] = {
    "grid": SamplerRow(None, True, True, "every cell once"),
    "random": SamplerRow("optuna.samplers:RandomSampler", True, True, "independent draws"),
    "tpe": SamplerRow("epsearch.search.tpe:sampler", True, False, "tree-structured Parzen estimator"),
    "guided": SamplerRow(
        "epsearch.search.guided:GuidedSampler",
        True,
        False,
        "Gaussian process along the ridge of lr and eps; needs the probe",
    ),
    "gp": SamplerRow("optuna.samplers:GPSampler", True, False, "Gaussian process"),
    "cmaes": SamplerRow("optuna.samplers:CmaEsSampler", False, False, "CMA-ES; needs the extra epsearch[cmaes]"),
    "qmc": SamplerRow("optuna.samplers:QMCSampler", False, True, "quasi-random (Sobol) sequence"),
}


class PrunerRow(NamedTuple):
    """A pruner of Optuna.

    Attributes:
        path: `module:class`, called with `arguments`.
        note: Shown by `epsearch list`.
        arguments: Arguments of the class.
        by_seed: Whether it compares trials seed by seed instead of epoch by epoch.
    """

    path: str
    note: str
    arguments: Mapping[str, float] = MappingProxyType({})
    by_seed: bool = False


PRUNERS: dict[str, PrunerRow] = {
    "none": PrunerRow("optuna.pruners:NopPruner", "every trial trains to the end"),
    "median": PrunerRow("optuna.pruners:MedianPruner", "stops a trial below the median of earlier ones"),
    "percentile": PrunerRow(
        "optuna.pruners:PercentilePruner",
        "stops a trial outside the best quarter of earlier ones",
        {"percentile": 25.0},
    ),
    "hyperband": PrunerRow("optuna.pruners:HyperbandPruner", "successive halving in several brackets"),
    "successive_halving": PrunerRow(
        "optuna.pruners:SuccessiveHalvingPruner", "only the best quarter continues at each rung"
    ),
    "wilcoxon": PrunerRow(
        "optuna.pruners:WilcoxonPruner", "stops a trial that is worse than the best one, seed by seed", by_seed=True
    ),
}


class SchedulerRow(NamedTuple):
    """A scheduler of Ray Tune, which the engine ray accepts as a pruner.

    Attributes:
        path: `module:class`, called with `arguments`.
        arguments: Arguments of the class.
        note: Shown by `epsearch list`.
    """

    path: str
    arguments: dict[str, float]
    note: str


SCHEDULERS: dict[str, SchedulerRow] = {
    "asha": SchedulerRow(
        "ray.tune.schedulers:AsyncHyperBandScheduler",
        {"stop_last_trials": False},
        "asynchronous successive halving: after epochs 1, 4, 16 … only the best quarter continues",
    ),
    "tune_hyperband": SchedulerRow(
        "ray.tune.schedulers:AsyncHyperBandScheduler",
        {"stop_last_trials": False, "brackets": 3},
        "asynchronous HyperBand: asha in three brackets that begin at epochs 1, 4 and 16",
    ),
    "tune_median": SchedulerRow(
        "ray.tune.schedulers:MedianStoppingRule",
        {"grace_period": 1, "min_time_slice": float("inf")},
        "stops a trial whose best value is below the median of the others' running means",
    ),
}
"""Only schedulers that stop trials: Ray's others pause and resume them, which needs a checkpoint of every epoch."""
