"""The verdict: whether the problem needs an adaptive optimizer, and what to run next. Pure functions.

Compares the best value at each end of ε, over the other hyperparameters, with the best of all. Differences within a
tolerance are ties. A study that is too small or unfinished gets no verdict.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from epsearch.core.averages import root_mean_square
from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label, number, percent, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Goal, Trial
from epsearch.report.analysis.advice import Advice
from epsearch.report.analysis.cells import state_of
from epsearch.report.analysis.evidence import ends_of_eps, too_small
from epsearch.report.analysis.next_steps import edges, next_steps
from epsearch.report.analysis.values import Kind, power_of, profile, shortfall

TOLERANCE = 0.005
"""Tolerance as a share of the best value, where only one seed was run and the noise is unknown."""

SEEDS_FACTOR = 2.0
"""Tolerance in standard errors of the difference of two means: about 95 % of chance differences are smaller."""

HEADLINES: Mapping[Kind, str] = {
    "immutable": "Fully immutable: the best ε is large, where {optimizer} acts like SGD with momentum.",
    "adaptable": "Fully adaptable: the best ε is small, where every parameter keeps its own learning rate.",
    "partial": "Partial: the best ε lies between, better than either end.",
    "indifferent": "Indifferent: ε makes no difference here once the learning rate is tuned.",
    "undecided": "Undecided: not enough evidence yet.",
}


@dataclass(frozen=True)
class Verdict:
    """The kind, the reasons, and what to do next. `tolerance` is in units of the metric; None for too few trials."""

    kind: Kind
    headline: str
    reasons: tuple[str, ...]
    advice: tuple[Advice, ...]
    tolerance: float | None


def verdict(outcome: Outcome) -> Verdict:
    """The verdict on the searched optimizer.

    Values that a sampler drew count for the nearest power of ten (β₂: of 1 - β₂), and an end of ε spans one decade.
    """
    arm = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer]
    complete = [trial for trial in arm if state_of(trial) == "complete"]
    if (missing := too_small(outcome, arm, complete)) is not None:
        return _verdict(outcome, "undecided", (missing.text,), (missing,), None)
    tolerance, why = _tolerance(complete, outcome.goal)
    by_eps = profile(complete, "eps", outcome.goal)
    best = outcome.best
    assert best is not None
    assert best.value is not None
    # An end where every trial was pruned or diverged has no value, and is not good.
    tried = sorted({power_of("eps", trial) for trial in arm if trial.eps is not None})
    pick = max if outcome.goal == "maximize" else min
    ends = [
        pick((trial.value for trial in end if state_of(trial) == "complete" and trial.value is not None), default=None)
        for end in ends_of_eps(arm)
    ]
    low_is_good, high_is_good = (
        value is not None and shortfall(best.value, value, outcome.goal) <= tolerance for value in ends
    )
    between_is_good = all(
        eps in by_eps and shortfall(best.value, by_eps[eps], outcome.goal) <= tolerance for eps in tried[1:-1]
    )
    reasons = [
        _against("smallest", tried[0], ends[0], outcome),
        _against("largest", tried[-1], ends[1], outcome),
        f"Differences up to {tolerance:.2g} are treated as ties: {why}.",
    ]
    kind: Kind
    if low_is_good and high_is_good:
        kind = "indifferent" if between_is_good else "undecided"
        if kind == "undecided":
            reasons.append(
                "Both ends are as good as the best, but some ε between them is worse: noise, or too few learning rates."
            )
    elif high_is_good:
        kind = "immutable"
    elif low_is_good:
        kind = "adaptable"
    else:
        kind = "partial"
    reasons += [text for text in (_share(outcome, best), _beta2(complete, best, tolerance, outcome.goal)) if text]
    advice = [*next_steps(kind, outcome, best, tolerance), *edges(kind, outcome, arm, best)]
    return _verdict(outcome, kind, tuple(reasons), tuple(advice), tolerance)


def _verdict(
    outcome: Outcome, kind: Kind, reasons: tuple[str, ...], advice: tuple[Advice, ...], tolerance: float | None
) -> Verdict:
    return Verdict(kind, HEADLINES[kind].format(optimizer=outcome.optimizer), reasons, advice, tolerance)


def _tolerance(complete: Sequence[Trial], goal: Goal) -> tuple[float, str]:
    """The tolerance and its reason: from the seeds of the better half, or else a share of the best value."""
    ranked = sorted(complete, key=lambda trial: trial.value or 0.0, reverse=goal == "maximize")
    half = ranked[: max(1, len(ranked) // 2)]
    spreads = [(trial.spread, len(trial.seed_values)) for trial in half if trial.spread is not None]
    if spreads:
        # Trials that fail to learn vary widely between seeds; their noise is not that of the good ones.
        pooled = root_mean_square([spread for spread, _ in spreads])
        seeds = max(2, min(number for _, number in spreads))
        error = pooled * math.sqrt(2 / seeds)
        tolerance = min(SEEDS_FACTOR * error, sys.float_info.max)
        return tolerance, f"twice the standard error over {count(seeds, 'seed')} (standard deviation {pooled:.2g})"
    best = abs(ranked[0].value or 0.0)
    return TOLERANCE * best, f"{TOLERANCE:.1%} of the best value, since one seed cannot show the noise"


def _against(which: str, eps: float, value: float | None, outcome: Outcome) -> str:
    best = outcome.best
    assert best is not None
    assert best.value is not None
    metric = one_line(outcome.metric, 60)
    at = f"At the {which} ε, {label('eps', eps)}, "
    if value is None:
        return f"{at}no trial completed."
    behind = shortfall(best.value, value, outcome.goal)
    if behind == 0:
        return f"{at}the best {metric} is {number(value)}, the best of all."
    return (
        f"{at}the best {metric} is {number(value)}: {behind:.2g} behind the best, at ε {rounded('eps', best.eps or 0)}."
    )


def _share(outcome: Outcome, best: Trial) -> str:
    if outcome.probe is None or not best.eps:
        return ""
    share = outcome.probe.adaptive_fraction(best.eps)
    if share == 0:
        return f"At the best ε no parameter keeps its own learning rate: {outcome.optimizer} acts like SGD here."
    return (
        f"After the probe, {percent(share)} of ẑ was above the best ε: these parameters keep their own learning rate."
    )


def _beta2(complete: Sequence[Trial], best: Trial, tolerance: float, goal: Goal) -> str:
    """Whether β₂ matters (Section 4.2): a large ε swamps v and β₂; with a small ε, v must average over an epoch."""
    found = profile(complete, "beta2", goal)
    if len(found) < 2 or best.value is None or best.beta2 is None:
        return ""
    worst = max(shortfall(best.value, value, goal) for value in found.values())
    if worst <= tolerance:
        return f"β₂ does not matter: its {len(found)} values differ by at most {worst:.2g}, within the tolerance."
    poor = [rounded("beta2", beta2) for beta2, value in found.items() if shortfall(best.value, value, goal) > tolerance]
    return f"β₂ matters: {rounded('beta2', best.beta2)} is best, {listed(poor)} up to {worst:.2g} behind."
