"""A Gaussian process of the results so far, and the improvement that it expects elsewhere."""

from __future__ import annotations

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
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    # The length scales are known beforehand: a dozen trials are too few to fit them.
    process = GaussianProcessRegressor(Matern(1.0, nu=2.5), alpha=NOISE, optimizer=None)
    if len(known) == 0:
        known, scores, pending = pending, np.zeros(len(pending)), known
    if len(known) == 0:
        return np.zeros(len(candidates))
    process.fit(known, scores)
    if len(pending):
        known = np.concatenate([known, pending])
        scores = np.concatenate([scores, process.predict(pending)])
        process.fit(known, scores)
    best = process.predict(known).max()
    mean, deviation = process.predict(candidates, return_std=True)
    gain = (mean - best) / (deviation := np.maximum(deviation, 1e-9))
    return np.asarray(np.log(deviation) + _log_expected(gain))


def _log_expected(gain: Floats) -> Floats:
    """log(φ(z) + z Φ(z)), also where both underflow."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log(np.maximum(stats.norm.pdf(gain) + gain * stats.norm.cdf(gain), 0))
    # φ(z) / z² for z far below 0.
    far = stats.norm.logpdf(gain) - 2 * np.log(np.maximum(-gain, 1))
    return np.where(gain > -6, near, far)
