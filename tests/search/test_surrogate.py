"""The Gaussian process of a guided search."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from epsearch.search.surrogate import NOISE, log_improvement, normal_scores


def test_scores_depend_on_the_order_alone() -> None:
    scores = normal_scores([0.1, 0.5, 0.3])
    assert scores == pytest.approx(normal_scores([-1e9, 1e300, 0.0]))
    assert scores == pytest.approx([-0.9674, 0.9674, 0], abs=1e-4)
    diverged = normal_scores([0.1, -math.inf, 0.3, -math.inf])
    assert diverged[1] == diverged[3] < diverged[0] < diverged[2]
    assert normal_scores([]).shape == (0,)


def matern(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The kernel, the plain way (Rasmussen & Williams, 2006, Eq. 4.17)."""
    r = np.sqrt(5) * np.linalg.norm(a[:, None] - b[None], axis=2)
    return (1 + r + r**2 / 3) * np.exp(-r)


def test_improvement_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    known, candidates, pending = rng.normal(size=(9, 2)), rng.normal(size=(40, 2)), rng.normal(size=(2, 2))
    scores = normal_scores(rng.normal(size=9).tolist())

    def posterior(x: np.ndarray, at: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inverse = np.linalg.inv(matern(at, at) + NOISE * np.eye(len(at)))
        across = matern(x, at)
        return across @ inverse @ y, np.sqrt(1 - np.einsum("ij,jk,ik->i", across, inverse, across))

    believed = posterior(pending, known, scores)[0]
    at, y = np.concatenate([known, pending]), np.concatenate([scores, believed])
    mean, deviation = posterior(candidates, at, y)
    z = (mean - posterior(at, at, y)[0].max()) / deviation
    expected = deviation * (stats.norm.pdf(z) + z * stats.norm.cdf(z))
    found = log_improvement(known, scores, pending, candidates)
    assert np.exp(found) == pytest.approx(expected, rel=1e-6)


def test_hopeless_candidates_are_still_in_order() -> None:
    """Where the expected improvement underflows, the better mean is the better candidate."""
    known = np.concatenate([np.full((400, 1), 0.0), np.full((400, 1), 3.0), [[6.0]]])
    scores = normal_scores([0.0] * 400 + [1.0] * 400 + [2.0])
    found = log_improvement(known, scores * 30, np.empty((0, 1)), np.array([[0.0], [0.3], [0.6], [5.9]]))
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def test_nothing_is_known_yet() -> None:
    none, some = np.empty((0, 2)), np.array([[0.0, 0.0]])
    candidates = np.array([[0.0, 0.1], [1.0, 1.0], [3.0, 3.0]])
    assert log_improvement(none, np.empty(0), none, candidates).tolist() == [0, 0, 0]
    # Away from the trials that run.
    assert (np.diff(log_improvement(none, np.empty(0), some, candidates)) > 0).all()
