"""What a study runs: its axes with the probed range, the number of trials, and their cost."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from epsearch.records.epsilon import EpsilonRange
from epsearch.study.box import HIGHEST, LOWEST, WIDE, Box
from epsearch.study.config import StudyConfig
from epsearch.study.schema.base import Bounds
from epsearch.study.space import (
    NEAREST,
    Axis,
    Interval,
    Points,
    Ridged,
    Space,
    auto_beta2,
    beta2_decades,
    decades,
    half_decades,
)

TYPICAL_POINTS = 5
"""Assumed number of powers of ten in the range before the probe: 4 to 6 in Tables 3 and 4."""

WIDE_POINTS = 21
"""Powers of ten from 1e-10 to 1e+10, the range searched by [6] in Table 3."""


def spaces(
    config: StudyConfig, found: EpsilonRange | None, batches_per_epoch: int | None, box: Box | None = None
) -> dict[str, Space]:
    """The search space of each optimizer: the searched one first, then the baselines.

    `found`, the probed range, is needed if the probe finds ε; `batches_per_epoch` if β₂ is auto. If lr is auto, it
    comes from `box`; without one, the space has the right number of learning rates, but not their values.
    """
    search = config.search
    eps = _eps(config, found)
    searched: dict[str, Axis] = {"lr": _lr(config, eps, box), "eps": eps}
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
    drawn = {name for name, axis in searched.items() if isinstance(axis, Interval)}
    if config.engine.sampler == "guided" and "eps" not in drawn:
        drawn -= {"lr"}  # half decades
    return {name: "interval" if name in drawn else "points" for name in searched}


def _lr(config: StudyConfig, eps: Axis, box: Box | None) -> Axis:
    grid = config.engine.sampler == "grid"
    if config.search.lr != "auto":
        return _axis(config.search.lr, grid=grid)
    assert not isinstance(eps, Ridged), "only lr depends on eps"
    over = eps.values if isinstance(eps, Points) else (eps.low, eps.high)
    if config.engine.sampler == "guided":
        return Interval(LOWEST, HIGHEST)  # the sampler has a box of its own, which it widens
    if not grid:
        return Interval(1e-5, 1.0) if box is None else box.hull(over)
    return half_decades(over, lambda _: 1e-3) if box is None else box.points(over)


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
    """The axis of a number, a list or bounds."""
    if isinstance(written, Bounds):
        return decades(written.low, written.high) if grid else Interval(written.low, written.high)
    return Points(tuple(written) if isinstance(written, list) else (float(written),))


class Cost(NamedTuple):
    """Trials and epochs, the probe's epochs included; `epochs` is None if the user's own code sets them."""

    trials: int
    epochs: int | None


class Plan(NamedTuple):
    """The cost of this study, and of a search over ε from 1e-10 to 1e+10 without a probe."""

    eps_points: int | None
    """Number of values of ε; None for a continuous search."""
    probed: bool
    """Whether that number is known, not estimated."""
    study: Cost
    wide: Cost
    baselines: int
    """Trials of the baselines, part of both costs."""
    tests_lr: bool
    """Whether this study also runs a learning-rate test."""


def plan(config: StudyConfig, found: EpsilonRange | None) -> Plan:
    """Count trials and epochs before a run; `found` is the probed range, if known."""
    assumed = found or EpsilonRange(lower=1e-6, upper=float(f"1e{TYPICAL_POINTS - 7}"))
    # The rule for β₂ gives one value, whatever the number of batches.
    arms = spaces(config, assumed, batches_per_epoch=1)
    searched = arms.pop(config.optimizer.name)
    baselines = sum(_size(space) for space in arms.values())
    points = len(searched["eps"].values) if isinstance(searched["eps"], Points) else None
    if config.engine.trials is None:
        trials = _size(searched)
        assert points is not None, "a grid has points"
        wide = trials // points * WIDE_POINTS
        if isinstance(searched["lr"], Ridged):
            # Without a probe there is no ridge: every power of ten of lr at every ε.
            wide = wide // NEAREST * len(WIDE.values)
    else:
        trials = wide = config.engine.trials
    probe_epochs = config.probe.epochs if config.search.needs_probe else 0
    return Plan(
        points,
        found is not None or not config.search.needs_probe,
        _cost(config, trials + baselines, probe_epochs),
        _cost(config, wide + baselines, 0),
        baselines,
        config.search.lr == "auto",
    )


def _cost(config: StudyConfig, trials: int, probe_epochs: int) -> Cost:
    each = config.trial_epochs
    return Cost(trials, None if each is None else trials * each + probe_epochs)


def _size(space: Space) -> int:
    return math.prod(len(axis) for axis in space.values() if not isinstance(axis, Interval))
