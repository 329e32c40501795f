"""What a study will run: its axes with the probe's range filled in, how many trials, what they cost."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from epsearch.records.epsilon import EpsilonRange
from epsearch.study.config import StudyConfig
from epsearch.study.schema.base import Bounds
from epsearch.study.space import Axis, Interval, Points, Space, auto_beta2, beta2_decades, decades

TYPICAL_POINTS = 5
"""Powers of ten in the probed range before it is known: 4 to 6 in Tables 3 and 4."""

WIDE_POINTS = 21
"""Powers of ten from 1e-10 to 1e+10, the range searched by [6] in Table 3."""


def spaces(config: StudyConfig, found: EpsilonRange | None, batches_per_epoch: int | None) -> dict[str, Space]:
    """The axes of each arm, by optimizer: the searched one first, then the baselines.

    `found` is needed where the study leaves ε to the probe, `batches_per_epoch` where it leaves β₂ to its rule.
    """
    search = config.search
    grid = config.engine.sampler == "grid"
    searched: dict[str, Axis] = {"lr": _axis(search.lr, grid=grid), "eps": _eps(config, found)}
    if config.has_beta2:
        searched["beta2"] = _beta2(config, batches_per_epoch)
    return {
        config.optimizer.name: searched,
        **{baseline: {"lr": _axis(search.sgd_lr, grid=True)} for baseline in search.baselines},
    }


def axis_kinds(config: StudyConfig, found: EpsilonRange | None) -> dict[str, Literal["points", "interval"]]:
    """How each hyperparameter of the searched optimizer is chosen; `found` is the probed range, if known."""
    # Any range and any number of batches give the same kinds of axes.
    assumed = found or EpsilonRange(lower=1e-6, upper=1e-2)
    searched = spaces(config, assumed, batches_per_epoch=1)[config.optimizer.name]
    return {name: "interval" if isinstance(axis, Interval) else "points" for name, axis in searched.items()}


def _beta2(config: StudyConfig, batches_per_epoch: int | None) -> Axis:
    beta2 = config.search.beta2
    if beta2 == "auto":
        assert batches_per_epoch is not None, "auto needs the number of batches"
        return Points((auto_beta2(batches_per_epoch, config.optimizer.beta1),))
    if isinstance(beta2, Bounds) and config.engine.sampler == "grid":
        return beta2_decades(beta2.low, beta2.high)
    return _axis(beta2, grid=False)


def _eps(config: StudyConfig, found: EpsilonRange | None) -> Axis:
    eps = config.search.eps
    if not config.search.needs_probe:
        return _axis(eps, grid=config.engine.sampler == "grid")
    assert found is not None, "the probe comes first"
    if eps == "continuous" and found.lower < found.upper:
        return Interval(found.lower, found.upper)
    return Points(tuple(found.grid() if eps == "grid" else found.endpoints()))


def _axis(written: Any, *, grid: bool) -> Axis:
    """A number, a list or bounds as an axis."""
    if isinstance(written, Bounds):
        return decades(written.low, written.high) if grid else Interval(written.low, written.high)
    return Points(tuple(written) if isinstance(written, list) else (float(written),))


class Cost(NamedTuple):
    """Trials and epochs, the probe's epochs included; `epochs` is None where the user's own code says."""

    trials: int
    epochs: int | None


class Plan(NamedTuple):
    """What ε costs: as this study searches it, and as a search over 1e-10 to 1e+10 without a probe would."""

    eps_points: int | None
    """Values of ε tried; None for a continuous search."""
    probed: bool
    """Whether that number is the probe's, rather than the typical one."""
    study: Cost
    wide: Cost
    baselines: int
    """Trials of the baselines, part of both costs."""


def plan(config: StudyConfig, found: EpsilonRange | None) -> Plan:
    """Count trials and epochs before anything runs; `found` is the probed range where it is known already."""
    assumed = found or EpsilonRange(lower=1e-6, upper=float(f"1e{TYPICAL_POINTS - 7}"))
    # Whatever the rule for β₂ gives, it is one value.
    arms = spaces(config, assumed, batches_per_epoch=1)
    searched = arms.pop(config.optimizer.name)
    baselines = sum(_size(space) for space in arms.values())
    points = len(searched["eps"].values) if isinstance(searched["eps"], Points) else None
    if config.engine.trials is None:
        trials = _size(searched)
        assert points is not None, "a grid has points"
        wide = trials // points * WIDE_POINTS
    else:
        trials = wide = config.engine.trials
    probe_epochs = config.probe.epochs if config.search.needs_probe else 0
    return Plan(
        points,
        found is not None or not config.search.needs_probe,
        _cost(config, trials + baselines, probe_epochs),
        _cost(config, wide + baselines, 0),
        baselines,
    )


def _cost(config: StudyConfig, trials: int, probe_epochs: int) -> Cost:
    each = config.trial_epochs
    return Cost(trials, None if each is None else trials * each + probe_epochs)


def _size(space: Space) -> int:
    return math.prod(len(axis.values) for axis in space.values() if isinstance(axis, Points))
