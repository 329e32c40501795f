"""Search lr and ε along the ridge that the probe and a learning-rate test predict."""

from __future__ import annotations

import math
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeResult
from epsearch.records.ridge import Ridge
from epsearch.search.coordinates import Coordinates
from epsearch.search.lattice import Number, is_numeric, is_positive, points
from epsearch.search.queue import key_of
from epsearch.search.surrogate import log_improvement, normal_scores

PRIOR, FADING = 0.72, 12
"""The prior exp(-δ² / 0.72), and the number of trials over which it fades."""

STARTS = 3
"""Trials on the ridge before the model decides: at the middle, the largest and the smallest ε."""

MARGIN = 0.5
"""Decades: the box widens if the best trial is nearer than that to an edge: if no half decade beyond it is inside."""

LEVELS = 6
"""Refinements of the candidates, each twice as dense as the one before."""

MOST_CANDIDATES = 2000
"""With more axes, a random choice of their combinations."""

MOST_TRIALS = 100
"""The model learns from that many of the best trials, and that many of the newest."""

Parameters = Mapping[str, Any]


class Box(NamedTuple):
    """Decades below and above the ridge in which lr is searched; infinite if only its distribution bounds it."""

    low: float
    high: float


class _Result(NamedTuple):
    """A finished trial; `value` is higher for better trials, and -inf for diverged ones."""

    parameters: Parameters
    value: float


class GuidedSampler(BaseSampler):
    """An Optuna sampler that searches lr and ε in the coordinates of the probe.

    δ = log10(lr / lr*(ε)) is the distance from the ridge, where the best lr is expected, and u(ε) = mean of ε / (ẑ + ε)
    how much ε damps (`ProbeResult.damping`). A Gaussian process learns the results by their rank, with length scales
    0.6 in δ and 0.5 in u. The next trial is the candidate with the highest expected improvement, times a prior
    exp(-δ² / 0.72) that fades over the first dozen trials (πBO: Hvarfner et al., 2022). The first three trials are on
    the ridge, at the middle, the largest and the smallest ε.

    Candidates are half decades of lr × the choices of ε, or the powers of ten in its range; finer steps when these are
    used up. With `test`, lr stays in a box that follows the ridge, and widens by a decade where the best trial is at
    its edge. Without, the distribution of lr is the box.

    Other numeric parameters (β₂, weight decay) are further axes of the model. Choices that are not numbers are left to
    TPE. Running trials count with the result that the model expects, so that parallel workers spread. Pruned trials
    count with their best intermediate value. Failed trials count as diverged, the worst result, unless their user
    attribute `fail_reason` names another reason. All this is read from the study: a resumed study continues as if it
    had not been interrupted.

    Args:
        result: The probe's result.
        lr: The name of the learning rate in the study, if it is searched.
        eps: The name of ε in the study, if it is searched.
        test: The learning-rate test. Without it, the level of the ridge is unknown, and there is no prior.
        seed: Seed of the choice between equal candidates, and of TPE.
        space: The study's distributions by name, so that the first trials are guided in every parameter. Default:
            those of the newest trial with a result.

    Raises:
        ValueError: When used in a study with several objectives.
    """

    def __init__(
        self,
        result: ProbeResult,
        *,
        lr: str = "lr",
        eps: str = "eps",
        test: LrTest | None = None,
        seed: int | None = None,
        space: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        self._probe, self._test, self._lr, self._eps = result, test, lr, eps
        self._seed = secrets.randbits(32) if seed is None else seed
        self._space = None if space is None else self._axes(space)
        self._box = self._first_box()
        self._coordinates: tuple[Any, Coordinates] | None = None

    @property
    def box(self) -> Box:
        """The bounds of lr around the ridge, as of the last suggestion."""
        return self._box

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The numeric parameters of `space`, or of the newest trial with a result."""
        self._raise_error_if_multi_objective(study)
        if self._space is not None:
            return dict(self._space)
        trials = study._get_trials(deepcopy=False, use_cache=True)
        # A failed trial may have ended before it had all its parameters.
        for states in ((TrialState.COMPLETE, TrialState.PRUNED), (TrialState.FAIL,)):
            for earlier in reversed(trials):
                if earlier.state in states and earlier.distributions:
                    return self._axes(earlier.distributions)
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point of the search space."""
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        trials = [
            each
            for each in study._get_trials(deepcopy=False, use_cache=True)
            if each.number != trial.number and self._has_axes(each.params, search_space)
        ]
        rng = np.random.default_rng([self._seed, trial.number])
        return dict(self._next(trials, study.direction, search_space, rng))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for a parameter that is not in the search space: lr and ε on the ridge, others from TPE."""
        self._raise_error_if_multi_objective(study)
        alone = {param_name: param_distribution}
        if param_name in (self._lr, self._eps) and self._axes(alone):
            if param_name == self._eps:
                order = _from_the_middle(points(param_distribution, 1))
                return order[trial.number % len(order)]
            if self._test is not None:
                # If ε comes next, the one that will be chosen.
                order = _from_the_middle(self._probe.range.grid())
                eps = trial.params.get(self._eps, order[trial.number % len(order)])
                return _nearest(points(param_distribution, 2), self._ridge(alone).lr(eps))
        # TPE with a seed for this draw: the sampler keeps no state.
        seed = zlib.crc32(f"{self._seed} {trial.number} {param_name}".encode())
        return TPESampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    def _axes(self, space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """The parameters of a space that the model can search: numbers, positive ones for lr and ε."""
        return {
            name: distribution
            for name, distribution in space.items()
            if is_numeric(distribution) and (name not in (self._lr, self._eps) or is_positive(distribution))
        }

    def _has_axes(self, parameters: Parameters, space: Mapping[str, BaseDistribution]) -> bool:
        """Whether a trial is a point of the space; one from before a change of the study may not be."""
        return space.keys() <= parameters.keys() and all(
            parameters[name] > 0 for name in (self._lr, self._eps) if name in space
        )

    def _ridge(self, space: Mapping[str, BaseDistribution]) -> Ridge:
        """The ridge; through the middle of the plane if no test suggests an lr."""
        test = self._test
        if test is not None:
            middle = test.suggestion or math.sqrt(test.low * test.high)
            return Ridge(self._probe, middle, test.eps or self._probe.range.lower)
        lr = _from_the_middle(points(space[self._lr], 2))[0] if self._lr in space else 1.0
        eps = _from_the_middle(points(space[self._eps], 1))[0] if self._eps in space else self._probe.range.lower
        return Ridge(self._probe, float(lr), float(eps))

    def _first_box(self) -> Box:
        if self._test is None:
            return Box(-math.inf, math.inf)
        middle = self._ridge({}).lr_at
        return Box(math.log10(self._test.low / middle), math.log10(self._test.high / middle))

    def _next(
        self,
        trials: Sequence[FrozenTrial],
        direction: StudyDirection,
        space: Mapping[str, BaseDistribution],
        rng: np.random.Generator,
    ) -> Parameters:
        coordinates = self._coordinates_of(space)
        results = _results(trials, direction)
        running = [each.params for each in trials if each.state == TrialState.RUNNING]
        # A trial with parameters outside the model, such as an activation, does not use up its cell.
        tried = {key_of(each.params) for each in trials if each.params.keys() <= space.keys()}
        self._box = self._widened(coordinates, results)

        if len(results) + len(running) < STARTS:
            for start in self._starts(coordinates, space):
                if key_of(start) not in tried:
                    return start

        candidates = self._candidates(coordinates, space, tried, rng)
        learned = results if len(results) <= 2 * MOST_TRIALS else _most_telling(results)
        improvement = log_improvement(
            coordinates.of([each.parameters for each in learned]),
            normal_scores([each.value for each in learned]),
            coordinates.of(running),
            coordinates.of(candidates),
        )
        if self._test is not None and self._test.suggestion is not None:
            weight = max(0.0, 1 - (len(results) + len(running)) / FADING)
            improvement -= weight * np.array([coordinates.distance(each) for each in candidates]) ** 2 / PRIOR
        return candidates[int(np.argmax(improvement))]

    def _coordinates_of(self, space: Mapping[str, BaseDistribution]) -> Coordinates:
        if self._coordinates is None or self._coordinates[0] != space:
            # Kept for what it has computed.
            self._coordinates = dict(space), Coordinates(self._ridge(space), self._lr, self._eps, space)
        return self._coordinates[1]

    def _widened(self, coordinates: Coordinates, results: Sequence[_Result]) -> Box:
        """The first box, widened by whole decades until the best trial is inside, and not at an edge."""
        first = self._first_box()
        best = max(results, key=lambda each: each.value, default=None)
        if best is None or best.value == -math.inf or not math.isfinite(first.low):
            return first
        below, above = self._room(coordinates, best.parameters, first)
        return Box(first.low - max(0, math.ceil(MARGIN - below)), first.high + max(0, math.ceil(MARGIN - above)))

    def _room(self, coordinates: Coordinates, parameters: Parameters, box: Box) -> tuple[float, float]:
        """Decades between a trial's lr and the edges of a box, negative beyond them."""
        distance = coordinates.distance(parameters)
        below = distance - box.low
        if self._lr in parameters and self._test is not None and self._test.suggestion is None:
            # Nothing is known of the ridge: the lower bound does not rise with ε.
            below = math.log10(parameters[self._lr] / self._test.low) + self._first_box().low - box.low
        return below, box.high - distance

    def _starts(self, coordinates: Coordinates, space: Mapping[str, BaseDistribution]) -> Iterator[Parameters]:
        """The middle of every axis, with ε at its middle, largest and smallest value and lr on the ridge."""
        middle = {name: _from_the_middle(points(axis, 1))[0] for name, axis in space.items()}
        epss = _from_the_middle(points(space[self._eps], 1))[:3] if self._eps in space else [None]
        for eps in epss:
            start = middle if eps is None else {**middle, self._eps: eps}
            if self._lr in space:
                lrs = [{**start, self._lr: lr} for lr in points(space[self._lr], 2)]
                start = min(lrs, key=lambda each: abs(coordinates.distance(each)))
            yield start

    def _candidates(
        self,
        coordinates: Coordinates,
        space: Mapping[str, BaseDistribution],
        tried: set[Any],
        rng: np.random.Generator,
    ) -> list[Parameters]:
        """Points that have not been tried, in random order: of the first refinement that has any inside the box.

        If there are none, those outside; if there are none either, all.
        """
        rest: list[Parameters] = []
        for level in range(LEVELS):
            axes = [points(axis, 2 ** (level + (name == self._lr))) for name, axis in space.items()]
            chosen = _combinations(axes, rng)
            cells: list[Parameters] = [dict(zip(space, values, strict=True)) for values in chosen]
            untried = [cell for cell in cells if key_of(cell) not in tried]
            if inside := [cell for cell in untried if min(self._room(coordinates, cell, self._box)) >= 0]:
                return inside
            rest = rest or untried
        return rest or cells


def _results(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[_Result]:
    sign = 1 if direction == StudyDirection.MAXIMIZE else -1
    results = []
    for trial in trials:
        values: list[float] = []
        if trial.state == TrialState.COMPLETE:
            assert trial.value is not None
            values = [sign * trial.value]
        elif trial.state == TrialState.PRUNED:
            values = [sign * value for value in trial.intermediate_values.values()]
        elif trial.state != TrialState.FAIL or trial.user_attrs.get("fail_reason", "diverged") != "diverged":
            continue
        finite = [value for value in values if math.isfinite(value)]
        results.append(_Result(trial.params, max(finite, default=-math.inf)))
    return results


def _most_telling(results: Sequence[_Result]) -> list[_Result]:
    """The best and the newest, in order: the model's cost grows with the cube of their number."""
    older, newest = results[:-MOST_TRIALS], results[-MOST_TRIALS:]
    return [*sorted(older, key=lambda each: -each.value)[:MOST_TRIALS], *newest]


def _combinations(axes: Sequence[Sequence[Number]], rng: np.random.Generator) -> list[list[Number]]:
    """All combinations of the axes' values in random order, or `MOST_CANDIDATES` of them."""
    sizes = [len(axis) for axis in axes]
    chosen = rng.choice(math.prod(sizes), min(math.prod(sizes), MOST_CANDIDATES), replace=False)
    indices = np.stack(np.unravel_index(chosen, sizes), axis=1)
    return [[axis[index] for axis, index in zip(axes, row, strict=True)] for row in indices.tolist()]


def _from_the_middle(values: Sequence[Number]) -> list[Number]:
    """The middle value, the last, the first, then the others."""
    return list(dict.fromkeys([values[(len(values) - 1) // 2], values[-1], values[0], *values]))


def _nearest(values: Sequence[Number], value: float) -> Number:
    """The nearest of some positive values, by ratio."""
    return min(values, key=lambda each: abs(math.log(each / value)))
