"""Optuna's TPE with the same suggestions, but a cost that grows slowly with the number of trials.

For every suggestion, Optuna's sampler reads the parameters and values of all trials, object by object. After 3,000
trials this takes longer than all other work of the driver. Here each finished trial is read once: its parameters become
a row of an array, its value a rank. Optuna's estimators do the rest, on arrays that fit into the processor's cache.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import default_gamma
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

BLOCK = 512
"""Number of kernels of an estimator that are evaluated at a time."""

Rank = tuple[float, float, float, int]
"""Optuna's sort key, best first: complete trials by value, then pruned ones by step and value; ties by number."""


class CachedTPESampler(TPESampler):
    """Optuna's TPE with a cache of one study's finished trials; for one objective, without constraints."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._parzen_estimator_cls = _BlockwiseEstimator
        self._history = _History(())

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if type(study) is not Study:
            # Hyperband shows each trial only the others of its bracket.
            return super()._sample(study, trial, search_space)
        if self._history.names != tuple(search_space):
            self._history = _History(tuple(search_space))
        history = self._history
        # The trials as of this trial's ask: no other process adds any.
        history.read(study.direction, study._get_trials(deepcopy=False, use_cache=True), search_space)
        ranks, recent = list(history.ranks), []
        for each in history.unfinished:
            if each.state in (TrialState.COMPLETE, TrialState.PRUNED):
                bisect.insort(ranks, _rank(each, study.direction))
            elif each.state != TrialState.RUNNING or not self._constant_liar or each.number == trial.number:
                continue
            recent.append((each.number, self._get_params(each, study)))
        points, counts = history.with_recent(recent, search_space)
        gamma = self._gamma or default_gamma
        below = np.zeros(len(points), dtype=bool)
        below[[number for *_, number in ranks[: gamma(len(ranks))]]] = True
        good, bad = (
            self._parzen_estimator_cls(
                dict(zip(search_space, points[counts & chosen].T, strict=True)),
                search_space,
                self._parzen_estimator_parameters,
            )
            for chosen in (below, ~below)
        )
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, good, bad))
        return {name: space.to_external_repr(best[name]) for name, space in search_space.items()}


class _BlockwiseEstimator(_ParzenEstimator):
    """Optuna's Parzen estimator with its density summed over blocks of kernels: equal up to rounding."""

    def log_pdf(self, samples_dict: dict[str, np.ndarray]) -> np.ndarray:
        """The log density of each sample."""
        mixture, samples = self._mixture_distribution, self._transform(samples_dict)
        blocks = (slice(first, first + BLOCK) for first in range(0, len(mixture.weights), BLOCK))
        densities = [
            mixture._replace(
                weights=mixture.weights[block], distributions=[_part(each, block) for each in mixture.distributions]
            ).log_pdf(samples)
            for block in blocks
        ]
        return np.asarray(np.logaddexp.reduce(densities))


def _part(distributions: Any, kernels: slice) -> Any:
    arrays = {name: value for name, value in distributions._asdict().items() if isinstance(value, np.ndarray)}
    return distributions._replace(**{name: value[kernels] for name, value in arrays.items()})


class _History:
    """A study's trials by number. Those before the first unfinished trial are read once."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.ranks: list[Rank] = []
        self.unfinished: Sequence[FrozenTrial] = ()
        """The first unfinished trial and all after it."""
        self._points = np.empty((0, len(names)))
        self._counts = np.zeros(0, dtype=bool)
        self._read = 0

    def read(
        self, direction: StudyDirection, trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]
    ) -> None:
        """Read the newly finished trials."""
        if len(trials) > len(self._points):
            room = 2 * len(trials) - len(self._points)
            self._points = np.concatenate([self._points, np.empty((room, len(self.names)))])
            self._counts = np.concatenate([self._counts, np.zeros(room, dtype=bool)])
        while self._read < len(trials) and trials[self._read].state.is_finished():
            trial = trials[self._read]
            # It may have counted while it was running.
            self._counts[trial.number] = False
            if trial.state != TrialState.FAIL:
                bisect.insort(self.ranks, _rank(trial, direction))
                self._note(trial.number, trial.params, space)
            self._read += 1
        self.unfinished = trials[self._read :]

    def with_recent(
        self, recent: Sequence[tuple[int, Mapping[str, Any]]], space: Mapping[str, BaseDistribution]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Every trial's parameters in Optuna's internal numbers (trials × names), and which of these count."""
        end = self._read + len(self.unfinished)
        self._counts[self._read : end] = False
        for number, parameters in recent:
            self._note(number, parameters, space)
        return self._points[:end], self._counts[:end]

    def _note(self, number: int, parameters: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> None:
        if space.keys() <= parameters.keys():
            self._points[number] = [space[name].to_internal_repr(parameters[name]) for name in self.names]
            self._counts[number] = True


def _rank(trial: FrozenTrial, direction: StudyDirection) -> Rank:
    sign = 1 if direction == StudyDirection.MINIMIZE else -1
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return -math.inf, sign * trial.value, 0.0, trial.number
    if not trial.intermediate_values:
        return 1.0, 0.0, 0.0, trial.number
    step, value = max(trial.intermediate_values.items())
    return -step, math.inf if math.isnan(value) else sign * value, 0.0, trial.number
