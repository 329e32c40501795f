"""The coordinates of a guided search: the distance from the ridge, the damping by ε, and the other axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from epsearch.records.ridge import Ridge
from epsearch.search.lattice import position

DISTANCE_LENGTH, LENGTH = 0.6, 0.5
"""Length scales: of δ in decades, and of every other coordinate, which go from 0 to 1."""


class Coordinates:
    """Maps the parameters of a study to points of the model.

    δ = log10(lr / lr*(ε)) is the distance from the ridge, and u(ε) = mean of ε / (ẑ + ε) the damping. Every other axis
    goes from 0 to 1 between its bounds.
    """

    def __init__(self, ridge: Ridge, lr: str, eps: str, space: Mapping[str, BaseDistribution]) -> None:
        self._ridge, self._lr, self._eps = ridge, lr, eps
        self._others = {name: axis for name, axis in space.items() if name not in (lr, eps)}
        self._has_lr, self._has_eps = lr in space, eps in space
        self._of_eps: dict[float, tuple[float, float]] = {}

    def _at(self, eps: float) -> tuple[float, float]:
        """log10 of the ridge's lr, and the damping; both are means over a long histogram."""
        if eps not in self._of_eps:
            self._of_eps[eps] = math.log10(self._ridge.lr(eps)), self._ridge.probe.damping(eps)
        return self._of_eps[eps]

    def eps(self, parameters: Mapping[str, Any]) -> float:
        """A trial's ε, or where the ridge was measured if the study does not search ε."""
        return float(parameters[self._eps]) if self._has_eps else self._ridge.eps

    def distance(self, parameters: Mapping[str, Any]) -> float:
        """δ of a trial, in decades; 0 if the study does not search lr."""
        if not self._has_lr:
            return 0.0
        return math.log10(parameters[self._lr]) - self._at(self.eps(parameters))[0]

    def of(self, trials: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """The points of the model, in units of the length scales: (trials, axes)."""
        rows = []
        for parameters in trials:
            row = [self.distance(parameters) / DISTANCE_LENGTH] if self._has_lr else []
            if self._has_eps:
                row.append(self._at(self.eps(parameters))[1] / LENGTH)
            row += [position(parameters[name], axis) / LENGTH for name, axis in self._others.items()]
            rows.append(row)
        return np.array(rows, dtype=float).reshape(len(trials), self._has_lr + self._has_eps + len(self._others))
