"""Samplers and pruners a study can name, as paths to Optuna's classes. Nothing here imports optuna."""

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
    "tpe": SamplerRow("optuna.samplers:TPESampler", True, False, "tree-structured Parzen estimator"),
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
