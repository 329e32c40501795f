"""What a study says of its problem: whether it wants an adaptive optimizer, and what to run next (pure).

The best value over the other hyperparameters, as a function of ε, is compared at the two ends of ε with the best of
all. Differences within a tolerance are none. Nothing is claimed of a study that is too small, or not done, to tell.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from epsearch.core.averages import root_mean_square
from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import SYMBOLS, count, label, number, percent, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Goal, Trial, best_trial
from epsearch.report.analysis.advice import Advice, bounds, resume
from epsearch.report.analysis.cells import state_of
from epsearch.report.analysis.next_steps import FEW, edges, given_beta2, next_steps
from epsearch.report.analysis.values import Kind, power_of, profile, shortfall

TOLERANCE = 0.005
"""Share of the best value below which a difference counts as none, where no seeds tell the noise."""

SEEDS_FACTOR = 2.0
"""Of the standard error of the difference between two means over seeds: about 95 % of chance differences are below."""

DONE = 0.9
"""Share of the planned trials that must have ended before a verdict."""

ENOUGH = 3
"""Learning rates that must have been tried at an end of ε before it is compared, where the study has as many."""

HEADLINES: Mapping[Kind, str] = {
    "immutable": "Fully immutable: the best ε is large, where {optimizer} is SGD with momentum in disguise.",
    "adaptable": "Fully adaptable: the best ε is small, where every parameter has a learning rate of its own.",
    "partial": "Partial: the best ε lies between, better than either end.",
    "indifferent": "Indifferent: ε makes no difference here, once the learning rate is tuned.",
    "undecided": "Undecided: this study cannot tell yet.",
}


@dataclass(frozen=True)
class Verdict:
    """The kind, its reasons in numbers, what to do next. `tolerance` is in the metric's own units; None of nothing."""

    kind: Kind
    headline: str
    reasons: tuple[str, ...]
    advice: tuple[Advice, ...]
    tolerance: float | None


def verdict(outcome: Outcome) -> Verdict:
    """Judge the searched arm of a study; the baselines are evidence beside it.

    ε and β₂ of a sampler are taken to the nearest power of ten (of 1 - β₂), an end of ε is a whole one.
    """
    arm = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer]
    complete = [trial for trial in arm if state_of(trial) == "complete"]
    if (missing := _too_small(outcome, arm, complete)) is not None:
        return _verdict(outcome, "undecided", (missing.text,), (missing,), None)
    tolerance, why = _tolerance(complete, outcome.goal)
    by_eps = profile(complete, "eps", outcome.goal)
    best = outcome.best
    assert best is not None
    assert best.value is not None
    # Where everything was pruned or diverged there is no value, and nothing good.
    tried = sorted({power_of("eps", trial) for trial in arm if trial.eps is not None})
    pick = max if outcome.goal == "maximize" else min
    ends = [
        pick((trial.value for trial in end if state_of(trial) == "complete" and trial.value is not None), default=None)
        for end in _ends(arm)
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
        f"Differences up to {tolerance:.2g} count as none: {why}.",
    ]
    kind: Kind
    if low_is_good and high_is_good:
        kind = "indifferent" if between_is_good else "undecided"
        if kind == "undecided":
            reasons.append("Both ends are as good as the best, and some ε between them is not: noise, or too few lr.")
    elif high_is_good:
        kind = "immutable"
    elif low_is_good:
        kind = "adaptable"
    else:
        kind = "partial"
    reasons += [text for text in (_share(outcome, best), _beta2(complete, best, tolerance, outcome.goal)) if text]
    advice = [*next_steps(kind, outcome, best, tolerance), *edges(kind, outcome, arm, best)]
    return _verdict(outcome, kind, tuple(reasons), tuple(advice), tolerance)


def _ends(arm: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """The trials within a power of ten of the smallest ε that was tried, and of the largest."""
    by_eps = sorted((trial for trial in arm if trial.eps is not None), key=lambda trial: trial.eps or 0.0)
    smallest, largest = by_eps[0].eps or 0.0, by_eps[-1].eps or 0.0
    decade = 9.99  # the next point of a grid is none of them
    return (
        [trial for trial in by_eps if (trial.eps or 0.0) < smallest * decade],
        [trial for trial in by_eps if (trial.eps or 0.0) > largest / decade],
    )


def _verdict(
    outcome: Outcome, kind: Kind, reasons: tuple[str, ...], advice: tuple[Advice, ...], tolerance: float | None
) -> Verdict:
    return Verdict(kind, HEADLINES[kind].format(optimizer=outcome.optimizer), reasons, advice, tolerance)


def _too_small(outcome: Outcome, arm: Sequence[Trial], complete: Sequence[Trial]) -> Advice | None:
    """What keeps a study from telling, and what would mend it."""
    # A trial that was lost, and is tried again, is in the study twice.
    ended = [trial for trial in arm if state_of(trial) in ("complete", "pruned", "diverged")]
    # What raised counts as done, or a cell that always raises would keep every study from its verdict.
    given_up = {_at(trial) for trial in arm if trial.fail_reason in ("raised", "died")} - {_at(each) for each in ended}
    under_way = sum(trial.state in ("running", "waiting") for trial in arm)
    planned = max(len(ended) + under_way, outcome.planned - len(given_up))
    if len(ended) < DONE * planned:
        return resume(f"Only {len(ended)} of {count(planned, 'trial')} have finished: resume the study.")
    if not complete:
        return Advice("No trial is complete.")
    if outcome.sampler != "grid" and len(ended) < 2:
        return Advice("One trial is too few for a verdict.", (f"engine.trials={FEW}",))
    for name in ("eps", "lr"):
        if len({trial.cell.get(name) for trial in ended}) < 2:
            return not_varied(name, outcome, complete)
    enough = min(ENOUGH, len({trial.lr for trial in arm}))
    for end, which in zip(_ends(ended), ("smallest", "largest"), strict=True):
        if len({trial.lr for trial in end}) < enough:
            found = f"Only {count(len(end), 'trial')} near the {which} ε; at least {enough} learning rates are needed."
            if outcome.sampler == "grid":
                return resume(f"{found} Run the study again to retry the trials that failed.")
            rates = sorted(trial.lr for trial in arm if trial.lr is not None)
            return Advice(
                f"{found} A grid over the two ends of the range has them.",
                (
                    "search.eps=endpoints",
                    bounds("lr", rates[0], rates[-1])[0],
                    *given_beta2([best_trial(complete, outcome.goal) or complete[0]]),
                    *("engine.sampler=grid", "engine.trials=null", "engine.pruner=none"),
                ),
                "endpoints",
            )
    return None


def _at(trial: Trial) -> tuple[tuple[str, float], ...]:
    return tuple(trial.cell.items())


def not_varied(name: str, outcome: Outcome, complete: Sequence[Trial]) -> Advice:
    """What to run where a study has one value of ε or of α."""
    text = f"{SYMBOLS[name]} was not varied, and the best one depends on {SYMBOLS['eps' if name == 'lr' else 'lr']}: "
    text += f"with one {'learning rate' if name == 'lr' else 'ε'} there is no verdict."
    if name == "lr":
        # Several seeds at one learning rate are a row repeated on purpose: the study it is from had the others.
        if len(complete[0].seed_values) > 1:
            return Advice(text)
        return Advice(text, ("search.lr={low: 1e-4, high: 1e-1}",), "lr")
    if outcome.probe is None:
        return Advice(text, (f"search.eps={'grid' if outcome.sampler == 'grid' else 'continuous'}",), "eps")
    eps = complete[0].eps or outcome.probe.range.lower
    setting, word = bounds("eps", eps / 10, eps * 10)
    return Advice(text, (setting, *given_beta2(complete)), word)


def _tolerance(complete: Sequence[Trial], goal: Goal) -> tuple[float, str]:
    """Below which a difference is none, and why: from the seeds of the better half, else a share of the best value."""
    ranked = sorted(complete, key=lambda trial: trial.value or 0.0, reverse=goal == "maximize")
    half = ranked[: max(1, len(ranked) // 2)]
    spreads = [(trial.spread, len(trial.seed_values)) for trial in half if trial.spread is not None]
    if spreads:
        # Seeds of a trial that fails to learn spread widely, and say nothing of the good ones.
        pooled = root_mean_square([spread for spread, _ in spreads])
        seeds = max(2, min(number for _, number in spreads))
        error = pooled * math.sqrt(2 / seeds)
        tolerance = min(SEEDS_FACTOR * error, sys.float_info.max)
        return tolerance, f"twice the standard error over {count(seeds, 'seed')} (each spreads {pooled:.2g})"
    best = abs(ranked[0].value or 0.0)
    return TOLERANCE * best, f"{TOLERANCE:.1%} of the best value, since one seed does not tell its noise"


def _against(which: str, eps: float, value: float | None, outcome: Outcome) -> str:
    best = outcome.best
    assert best is not None
    assert best.value is not None
    metric = one_line(outcome.metric, 60)
    at = f"At the {which} ε, {label('eps', eps)}, "
    if value is None:
        return f"{at}no trial was completed."
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
    return f"After the probe, {percent(share)} of ẑ was above the best ε: that share of the elements adapts."


def _beta2(complete: Sequence[Trial], best: Trial, tolerance: float, goal: Goal) -> str:
    """Section 4.2: with a large ε, v and so β₂ is drowned; with a small one, β₂ must average over an epoch."""
    found = profile(complete, "beta2", goal)
    if len(found) < 2 or best.value is None or best.beta2 is None:
        return ""
    worst = max(shortfall(best.value, value, goal) for value in found.values())
    if worst <= tolerance:
        return f"β₂ does not matter: its {len(found)} values differ by {worst:.2g} at most, within the tolerance."
    poor = [rounded("beta2", beta2) for beta2, value in found.items() if shortfall(best.value, value, goal) > tolerance]
    return f"β₂ matters: {rounded('beta2', best.beta2)} is best, and {listed(poor)} up to {worst:.2g} behind."
