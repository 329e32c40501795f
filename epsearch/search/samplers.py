"""The study's space, sampler and pruner as Optuna's objects."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from epsearch.core.commands import install
from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.records.trial import Cell
from epsearch.registry.samplers import PRUNERS, SAMPLERS
from epsearch.search.guide import Guide
from epsearch.study.config import StudyConfig
from epsearch.study.space import Interval, Ridged, Space, beta2_of

COMPLEMENT = "one_minus_beta2"
"""The parameter's name in Optuna: β₂ is searched log-uniformly in 1 - β₂."""


def distributions(space: Space, *, grid: bool) -> dict[str, BaseDistribution]:
    """The space as Optuna distributions.

    A grid's points are on a float axis, so that a later run can widen it. Samplers choose among points as categories,
    and from an interval log-uniformly.
    """
    found: dict[str, BaseDistribution] = {}
    for name, axis in space.items():
        if isinstance(axis, Ridged):
            found[name] = span(rate for rates in axis.at.values() for rate in rates)
        elif isinstance(axis, Interval):
            if name == "beta2":
                found[COMPLEMENT] = FloatDistribution(beta2_of(axis.high), beta2_of(axis.low), log=True)
            else:
                found[name] = FloatDistribution(axis.low, axis.high, log=True)
        elif grid or len(axis.values) == 1:
            found[name] = FloatDistribution(min(axis.values), max(axis.values), log=name != "beta2")
        else:
            found[name] = CategoricalDistribution(axis.values)
    return found


def span(rates: Iterable[float]) -> FloatDistribution:
    """A log axis that holds these learning rates."""
    ascending = sorted(rates)
    return FloatDistribution(ascending[0], ascending[-1], log=True)


def cell_of(optimizer: str, parameters: Mapping[str, Any]) -> Cell:
    """The cell of a trial's Optuna parameters."""
    beta2 = parameters.get("beta2")
    if COMPLEMENT in parameters:
        beta2 = beta2_of(parameters[COMPLEMENT])
    return Cell(optimizer=optimizer, lr=parameters["lr"], eps=parameters.get("eps"), beta2=beta2)


def draws(config: StudyConfig, space: Mapping[str, BaseDistribution]) -> list[dict[str, float]]:
    """All points of a sampler whose draws are independent: the same for a seed, however often a study goes on."""
    optuna_level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scratch = optuna.create_study(sampler=create_sampler(config, config.engine.seed))
    optuna.logging.set_verbosity(optuna_level)
    drawn = []
    for _ in range(config.engine.trials or 0):
        trial = scratch.ask(fixed_distributions=dict(space))
        scratch.tell(trial, 0.0)
        drawn.append(trial.params)
    return drawn


def create_sampler(
    config: StudyConfig, seed: int, guide: Guide | None = None, space: Mapping[str, BaseDistribution] | None = None
) -> optuna.samplers.BaseSampler:
    """The study's sampler; `guided` needs `guide` and `space`.

    Raises:
        UserError: a required package is not installed.
    """
    row = SAMPLERS[config.engine.sampler]
    assert row.path is not None, "a grid needs no sampler"
    arguments: dict[str, Any] = {"seed": seed}
    if config.engine.sampler == "tpe" and config.engine.concurrent:
        arguments["constant_liar"] = True
    if config.engine.sampler == "qmc":
        arguments["scramble"] = True
    if config.engine.sampler == "guided":
        assert guide is not None, "the probe comes first"
        arguments |= {"result": guide.probe, "test": guide.test, "space": space}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            sampler: optuna.samplers.BaseSampler = load_object(row.path)(**arguments)
            return sampler
        except ImportError as error:
            raise UserError(
                f"engine.sampler: {config.engine.sampler} needs a package that is not installed "
                f"({' '.join(str(error).split()):.150}): {install(config.engine.sampler)}"
            ) from error


def create_pruner(config: StudyConfig) -> optuna.pruners.BasePruner:
    """The study's pruner; one that never prunes if a Ray scheduler stops trials."""
    row = PRUNERS.get(config.engine.pruner, PRUNERS["none"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner: optuna.pruners.BasePruner = load_object(row.path)(**row.arguments)
    return pruner
