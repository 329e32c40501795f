"""The noise of one training, as its seeds and its test set show it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epsearch.records.trial import Trial
from epsearch.report.analysis.scale import Scale
from epsearch.report.analysis.surface import Floats, Noise

SEEDS_OF_A_TEST_SET = 5
"""The binomial error of an accuracy counts like an estimate from so many seeds: it is exact for the sampling of the
test set, but training adds noise of its own."""


def noise_of(trials: Sequence[Trial], short: Floats, examples: int | None, scale: Scale) -> Noise:
    """Pool the seeds of the better half of n trials, as those that fail to learn vary more, and the test set's error.

    Args:
        trials: Complete trials near the optimum.
        short: (n,) how far they fall short of the best, on `scale`.
        examples: The size of the test set; None if unknown.
        scale: Of the result.
    """
    good = [
        (trial.spread / scale.unit, len(trial.seed_values) - 1)
        for trial, lost in zip(trials, short, strict=True)
        if lost <= np.median(short) and trial.spread is not None and len(trial.seed_values) > 1
    ]
    freedom = sum(number for _, number in good)
    total = sum(spread**2 * number for spread, number in good)
    if examples is not None:
        share = min(max(abs(scale.best) * scale.unit, 0.0), 1.0)
        weight = SEEDS_OF_A_TEST_SET - 1
        freedom, total = freedom + weight, total + weight * share * (1 - share) / examples / scale.unit**2
    return Noise(total / freedom, freedom) if freedom else Noise()
