"""Samplers and pruners a study can name, as paths to Optuna's classes. Nothing here imports optuna."""

from __future__ import annotations

from typing import NamedTuple


class SamplerRow(NamedTuple):
    """`path` is None for the grid, whose cells are enqueued. `points` says whether it can choose among points."""

    path: str | None
    points: bool
    note: str


SAMPLERS: dict[str, SamplerRow] = {
    "grid": SamplerRow(None, True, "every cell once"),
    "random": SamplerRow("optuna.samplers:RandomSampler", True, "independent draws"),
    "tpe": SamplerRow("optuna.samplers:TPESampler", True, "tree-structured Parzen estimator"),
    "gp": SamplerRow("optuna.samplers:GPSampler", True, "Gaussian process"),
    "cmaes": SamplerRow("optuna.samplers:CmaEsSampler", False, "CMA-ES; needs the extra epsearch[cmaes]"),
    "qmc": SamplerRow("optuna.samplers:QMCSampler", False, "quasi-random (Sobol) sequence"),
}

PRUNERS: dict[str, str] = {
    "none": "optuna.pruners:NopPruner",
    "median": "optuna.pruners:MedianPruner",
    "percentile": "optuna.pruners:PercentilePruner",
    "hyperband": "optuna.pruners:HyperbandPruner",
    "successive_halving": "optuna.pruners:SuccessiveHalvingPruner",
    "wilcoxon": "optuna.pruners:WilcoxonPruner",
}
