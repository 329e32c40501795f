"""A Gaussian process of the results so far, and the improvement that it expects elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

NOISE = 0.05
"""Variance of a result that training again with another seed would change, as a share of the variance of all."""


def normal_scores(values: Sequence[float]) -> Floats:
    """The values as quantiles of the normal distribution, by rank: the scale of a metric and outliers do not matter.

    Equal values share their mean rank. The lowest value, -inf for trials that diverged, has the lowest score.
    """
    ranks = stats.rankdata(values)
    return np.asarray(stats.norm.ppf((ranks - 0.5) / len(ranks)))


def log_improvement(known: Floats, scores: Floats, pending: Floats, candidates: Floats) -> Floats:
    """The logarithm of the expected improvement at the candidates: (candidates,).

    Points are rows, their coordinates in units of the length scales: `known` (n, d) with `scores` (n,); `pending`
    trials (m, d), which count with the score that the model expects of them; `candidates` (k, d).
    """
    if not len(known):
        known, scores, pending = pending, np.zeros(len(pending)), known
    if not len(known):
        return np.zeros(len(candidates))
    from threadpoolctl import threadpool_limits

    # Workers use the cores: with a thread for each of them, BLAS took ten times as long.
    with _LIMITING, threadpool_limits(1, user_api="blas"):
        return _log_improvement(known, scores, pending, candidates)


_LIMITING = threading.Lock()
"""Threads that limit BLAS at the same time would restore each other's limits."""


def _log_improvement(known: Floats, scores: Floats, pending: Floats, candidates: Floats) -> Floats:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    # The length scales are given: a dozen trials are too few to fit them.
    process = GaussianProcessRegressor(Matern(1.0, nu=2.5), alpha=NOISE, optimizer=None)
    process.fit(known, scores)
    if len(pending):
        known = np.concatenate([known, pending])
        scores = np.concatenate([scores, process.predict(pending)])
        process.fit(known, scores)
    best = process.predict(known).max()
    mean, deviation = process.predict(candidates, return_std=True)
    deviation = np.maximum(deviation, 1e-9)
    return np.asarray(np.log(deviation) + _log_expected((mean - best) / deviation))


def _log_expected(gain: Floats) -> Floats:
    """log(φ(z) + z Φ(z)), also where both underflow."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log(np.maximum(stats.norm.pdf(gain) + gain * stats.norm.cdf(gain), 0))
    # φ(z) / z² for z far below 0.
    far = stats.norm.logpdf(gain) - 2 * np.log(np.maximum(-gain, 1))
    return np.asarray(np.where(gain > -6, near, far))
