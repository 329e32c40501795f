"""SGD with momentum beside the searched optimizer."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from epsearch.core.averages import difference
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.analysis.cells import state_of
from epsearch.report.analysis.profile import Profile

BASELINE = "sgd_momentum"

FINE = 0.55
"""Decades between two lr beside the best one, at most, if the baseline's best is to be compared."""


@dataclass(frozen=True)
class Comparison:
    """The baseline's best trial, and how far it is behind the searched optimizer: `behind` ± `error` (95 %).

    `fair` is False if a better lr may lie between or beyond those tried.
    """

    trial: Trial
    behind: float
    error: float
    fair: bool


def compare(outcome: Outcome, found: Profile) -> Comparison | None:
    """Compare the best of both; None if the baseline has no complete trial."""
    best = outcome.best_of(BASELINE)
    if best is None or best.value is None or best.lr is None or outcome.optimizer == BASELINE:
        return None
    tried = [trial for trial in outcome.trials if trial.optimizer == BASELINE and trial.lr is not None]
    ended = sorted(
        {math.log10(trial.lr or 1.0) for trial in tried if state_of(trial) in ("complete", "diverged", "pruned")}
    )
    here = ended.index(math.log10(best.lr))
    fair = 0 < here < len(ended) - 1 and ended[here + 1] - ended[here - 1] <= 2 * FINE
    row = found.rows[found.best]
    sign = 1 if outcome.goal == "maximize" else -1
    seeds = max(1, len(best.seed_values))
    noise = found.sigma / math.sqrt(seeds)
    error = 1.96 * math.hypot(noise, difference(row.high, row.low) / 3.92)
    return Comparison(best, sign * difference(row.value, best.value), min(error, sys.float_info.max), fair)
