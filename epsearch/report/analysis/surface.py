"""A Gaussian process over the cells of a study: what an ε can reach, and how sure that is.

Its coordinates are those of the guided search: δ, the distance of lr from the ridge in decades; u, the damping by ε,
from 0 to 1; and log10(1 - β₂). On a few dozen cells, length scales and noise cannot be fitted, so the model averages
over them, weighted by how well they explain the values (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, chapters 2 and 5). Cells that are close in these coordinates count as repetitions of each other: every ε
far below ẑ, for one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DISTANCE_LENGTHS = (0.8, 2.0)
"""Length scales of δ, in decades."""

DAMPING_LENGTHS = (0.3, 0.8)
"""Length scales of u."""

BETA2_LENGTH = 2.0
"""Length scale of log10(1 - β₂), in decades."""

SHARES = (0.2, 1.0)
"""Variance of the profile over ε, as a share of that over δ."""

INTERACTION = 0.3
"""Variance of what is neither a profile over ε nor a cross-section over δ, as a share of the profile's."""

LEVEL = 25.0
"""Variance of the constant: large, since the values' mean is unknown."""

RATIOS = tuple(10.0 ** (half / 2) for half in range(-8, 3))
"""Variance of one seed, as a share of the variance over δ."""

LEAST_WEIGHT = 0.01
"""Hypotheses with less than this share of the best one's likelihood are dropped."""


class Noise(NamedTuple):
    """An estimate of the variance of one seed, and its degrees of freedom: 0 if there is none."""

    variance: float = 0.0
    freedom: float = 0.0


@dataclass(frozen=True)
class _Kernel:
    """The prior covariance: a cross-section over δ, a profile over u, and a smaller interaction of both."""

    distance: float
    damping: float
    share: float

    def __call__(self, one: Floats, other: Floats) -> Floats:
        gap = np.abs(one[:, None, :] - other[None, :, :])
        across, along = _matern(gap[..., 0] / self.distance), _matern(gap[..., 1] / self.damping)
        surface = across + self.share * (along + INTERACTION * across * along)
        return np.asarray(LEVEL + _matern(gap[..., 2] / BETA2_LENGTH) * surface)


class _Hypothesis(NamedTuple):
    """One choice of coordinates, length scales and noise. `ratio` is the noise's variance, in units of `variance`."""

    log_likelihood: float
    coordinates: int
    kernel: _Kernel
    ratio: float
    variance: float
    eigenvalues: Floats
    vectors: Floats


class Surface:
    """The posterior, given the values of n cells.

    Args:
        points: (n, 3) each: the cells' δ, u and log10(1 - β₂). Several are hypotheses, of which the values choose.
        values: (n,), higher for better cells.
        seeds: (n,) how many seeds each value is the mean of.
        noise: What the seeds of a cell show about the noise.
        doubts: The logarithm of each hypothesis's prior odds.
    """

    def __init__(
        self, points: Sequence[Floats], values: Floats, seeds: Floats, noise: Noise, doubts: Sequence[float]
    ) -> None:
        self._doubts = doubts
        self._points, self._weights_of_cells = points, np.sqrt(seeds)
        self._level, self._scale = float(values.mean()), float(values.std()) or 1.0
        self._values = (values - self._level) / self._scale * self._weights_of_cells
        self._freedom = len(values) + noise.freedom
        known = noise.variance / self._scale**2 * noise.freedom
        found = list(self._explain(known, noise.freedom))
        best = max(each.log_likelihood for each in found)
        self._hypotheses = [each for each in found if each.log_likelihood > best + math.log(LEAST_WEIGHT)]
        weights = np.exp([each.log_likelihood - best for each in self._hypotheses])
        self._weights = weights / weights.sum()

    def _explain(self, known: float, freedom: float) -> list[_Hypothesis]:
        """Every hypothesis with its likelihood, its scale integrated out under Jeffreys' prior."""
        found = []
        axes = (range(len(self._points)), DISTANCE_LENGTHS, DAMPING_LENGTHS, SHARES)
        for index, distance, damping, share in itertools.product(*axes):
            kernel = _Kernel(distance, damping, share)
            covariance = kernel(self._points[index], self._points[index])
            eigenvalues, vectors = np.linalg.eigh(covariance * np.outer(self._weights_of_cells, self._weights_of_cells))
            eigenvalues = np.maximum(eigenvalues, 0.0)
            projected = (vectors.T @ self._values) ** 2
            for ratio in RATIOS:
                quadratic = float((projected / (eigenvalues + ratio)).sum()) + known / ratio + 1e-12
                log = self._doubts[index] - 0.5 * (
                    float(np.log(eigenvalues + ratio).sum())
                    + freedom * math.log(ratio)
                    + self._freedom * math.log(quadratic)
                )
                variance = quadratic / self._freedom
                found.append(_Hypothesis(log, index, kernel, ratio, variance, eigenvalues, vectors))
        return found

    @property
    def sigma(self) -> float:
        """The standard deviation of one seed."""
        variances = [each.ratio * each.variance for each in self._hypotheses]
        return self._scale * math.sqrt(float(self._weights @ variances))

    @property
    def most_likely(self) -> int:
        """The hypothesis of the coordinates that explains the values best."""
        return max(self._hypotheses, key=lambda each: each.log_likelihood).coordinates

    def mean(self, points: Sequence[Floats]) -> Floats:
        """The expected values at `points`, given as for the cells: (points,)."""
        means = [self._posterior(points, each)[0] for each in self._hypotheses]
        return np.asarray(self._level + self._scale * (self._weights @ np.array(means)))

    def draw(self, points: Sequence[Floats], draws: int, rng: np.random.Generator) -> Floats:
        """Values at `points` without noise, drawn from the posterior: (draws, points)."""
        parts = []
        for each, times in zip(self._hypotheses, rng.multinomial(draws, self._weights), strict=True):
            if not times:
                continue
            mean, cross = self._posterior(points, each)
            here = points[each.coordinates]
            covariance = each.kernel(here, here) - (cross / (each.eigenvalues + each.ratio)) @ cross.T
            values, directions = np.linalg.eigh(covariance)
            root = directions * np.sqrt(np.maximum(values, 0.0))
            normal = rng.normal(size=(times, len(mean))) @ root.T
            # Student's t: the scale is estimated from the same values.
            scale = np.sqrt(each.variance * self._freedom / rng.chisquare(self._freedom, size=(times, 1)))
            parts.append(mean + scale * normal)
        return np.asarray(self._level + self._scale * np.concatenate(parts))

    def _posterior(self, points: Sequence[Floats], each: _Hypothesis) -> tuple[Floats, Floats]:
        """The mean at `points`, and their covariance with the cells along the eigenvectors."""
        cross = each.kernel(points[each.coordinates], self._points[each.coordinates]) * self._weights_of_cells
        cross = cross @ each.vectors
        return cross @ ((each.vectors.T @ self._values) / (each.eigenvalues + each.ratio)), cross


def _matern(distance: Floats) -> Floats:
    """Matérn 5/2 at distances in units of the length scale."""
    scaled = math.sqrt(5) * distance
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))
