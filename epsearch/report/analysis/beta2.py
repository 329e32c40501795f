"""Whether β₂ matters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epsearch.core.messages import listed
from epsearch.core.numbers import rounded
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.analysis.profile import Profile
from epsearch.report.analysis.values import amount, best_by, shortfall


def effect_of_beta2(outcome: Outcome, complete: Sequence[Trial], found: Profile) -> str:
    """Whether β₂ matters (Section 4.2): a large ε swamps v and β₂; with a small ε, v must average over an epoch.

    The best of many cells is a lucky one: with n of them, by about √(2 log n) standard deviations.
    """
    by_beta2 = best_by(complete, "beta2", outcome.goal)
    best = outcome.best
    if len(by_beta2) < 2 or best is None or best.value is None or best.beta2 is None:
        return ""
    seeds = max(1, len(best.seed_values))
    cells = max(2, len(complete) // len(by_beta2))
    noise = found.sigma / math.sqrt(seeds) * max(2.8, math.sqrt(2 * math.log(cells)))
    limit = max(noise, found.tolerance)
    behind = {beta2: shortfall(best.value, value, outcome.goal) for beta2, value in by_beta2.items()}
    worst = max(behind.values())
    if worst <= limit:
        most = amount(worst, outcome)
        return f"β₂ does not matter: its {len(by_beta2)} values differ by at most {most}, within the noise."
    poor = [rounded("beta2", beta2) for beta2, lost in behind.items() if lost > limit]
    return f"β₂ matters: {rounded('beta2', best.beta2)} is best, {listed(poor)} up to {amount(worst, outcome)} behind."
