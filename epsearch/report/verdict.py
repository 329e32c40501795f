"""What a study says of its problem: whether it wants an adaptive optimizer, and what to run next (pure).

The best value over the other hyperparameters, as a function of ε, is compared at the two ends of ε with the best of
all. Differences within a tolerance are none. Nothing is claimed of a study that is too small, or not done, to tell.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from epsearch.averages import difference, root_mean_square
from epsearch.labels import SYMBOLS, count, label, listed, number, one_line, percent, rounded
from epsearch.records import Goal, Outcome, Trial, best_trial, power_of_ten
from epsearch.report.advice import Advice, bounds, more_seeds, resume
from epsearch.report.cells import state_of

Kind = Literal["immutable", "adaptable", "partial", "indifferent", "undecided"]

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

OUTSIDE_THE_ROOT = ("adam", "adamw", "amsgrad", "nadam", "radam", "rmsprop")
INSIDE_THE_ROOT = ("eadam", "adamomentum")

FEW = 20
"""Trials to ask of a sampler that was asked for one."""


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
    tried = sorted({_power("eps", trial) for trial in arm if trial.eps is not None})
    pick = max if outcome.goal == "maximize" else min
    ends = [
        pick((trial.value for trial in end if state_of(trial) == "complete" and trial.value is not None), default=None)
        for end in _ends(arm)
    ]
    low_is_good, high_is_good = (
        value is not None and _behind(best.value, value, outcome.goal) <= tolerance for value in ends
    )
    between_is_good = all(
        eps in by_eps and _behind(best.value, by_eps[eps], outcome.goal) <= tolerance for eps in tried[1:-1]
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
    advice = [*_next(kind, outcome, best, tolerance), *_edges(kind, outcome, arm, best)]
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


def profile(complete: Sequence[Trial], name: str, goal: Goal) -> dict[float, float]:
    """The best value over the other hyperparameters, by the value of one (of a sampler: its power of ten)."""
    found: dict[float, float] = {}
    for trial in complete:
        if trial.value is not None and name in trial.cell:
            key = _power(name, trial)
            found[key] = _better(found.get(key, trial.value), trial.value, goal)
    return dict(sorted(found.items()))


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
            return _not_varied(name, outcome, complete)
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
                    *_given_beta2([best_trial(complete, outcome.goal) or complete[0]]),
                    *("engine.sampler=grid", "engine.trials=null", "engine.pruner=none"),
                ),
                "endpoints",
            )
    return None


def _at(trial: Trial) -> tuple[tuple[str, float], ...]:
    return tuple(trial.cell.items())


def _not_varied(name: str, outcome: Outcome, complete: Sequence[Trial]) -> Advice:
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
    return Advice(text, (setting, *_given_beta2(complete)), word)


def _given_beta2(trials: Sequence[Trial]) -> tuple[str, ...]:
    """The one β₂ that was tried: without a probe, `auto` could not count the batches of a `train(run)`."""
    values = sorted({trial.beta2 for trial in trials if trial.beta2 is not None})
    return (f"search.beta2={rounded('beta2', values[0])}",) if len(values) == 1 else ()


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
    metric = one_line(outcome.metric)
    at = f"At the {which} ε, {label('eps', eps)}, "
    if value is None:
        return f"{at}no trial was completed."
    behind = _behind(best.value, value, outcome.goal)
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
    worst = max(_behind(best.value, value, goal) for value in found.values())
    if worst <= tolerance:
        return f"β₂ does not matter: its {len(found)} values differ by {worst:.2g} at most, within the tolerance."
    poor = [rounded("beta2", beta2) for beta2, value in found.items() if _behind(best.value, value, goal) > tolerance]
    return f"β₂ matters: {rounded('beta2', best.beta2)} is best, and {listed(poor)} up to {worst:.2g} behind."


def _next(kind: Kind, outcome: Outcome, best: Trial, tolerance: float) -> list[Advice]:
    if kind == "undecided":
        return [more_seeds(max(len(trial.seed_values) for trial in outcome.trials))]
    if kind != "immutable":
        return []
    arms = {trial.optimizer for trial in outcome.trials}
    sgd = outcome.best_of("sgd_momentum")
    if sgd is not None and sgd.value is not None and best.value is not None:
        behind = _behind(best.value, sgd.value, outcome.goal)
        same = "as good" if abs(behind) <= tolerance else f"{abs(behind):.2g} {'behind' if behind > 0 else 'better'}"
        return [Advice(f"SGD with momentum was tried: {number(sgd.value)} at α {rounded('lr', sgd.lr or 0)}, {same}.")]
    rate = sgd_rate(best)
    if rate is None or "sgd_momentum" in arms:
        return []
    momentum = " with momentum" if outcome.optimizer != "rmsprop" else ""
    setting, word = bounds("sgd_lr", rate / 10, rate * 10)
    others = sorted(arms - {outcome.optimizer})
    return [
        Advice(
            f"Try SGD{momentum} at a learning rate of {rounded('lr', rate)} (α over what ε leaves of the "
            "denominator; with dampening equal to the momentum).",
            (f"search.baselines=[{','.join([*others, 'sgd_momentum'])}]", setting),
            word,
        )
    ]


def sgd_rate(trial: Trial) -> float | None:
    """The constant rate that a trial's α is where ε drowns ẑ (Table 5); None where the table gives no constant."""
    if trial.lr is None or not trial.eps:
        return None
    if trial.optimizer in OUTSIDE_THE_ROOT:
        return trial.lr / trial.eps
    if trial.beta2 is None:
        return None
    root = math.sqrt(trial.eps / (1 - trial.beta2))
    if trial.optimizer in INSIDE_THE_ROOT:
        return trial.lr / root
    return trial.lr / (root + trial.eps) if trial.optimizer == "adabelief" else None


def _edges(kind: Kind, outcome: Outcome, arm: Sequence[Trial], best: Trial) -> list[Advice]:
    """Where the optimum touches the edge of what was tried, it may lie beyond."""
    found = []
    rates = sorted({trial.lr for trial in arm if trial.lr is not None})
    assert best.lr is not None
    # A sampler comes near an edge without lying on it.
    if best.lr <= rates[0] * 1.2 or best.lr >= rates[-1] / 1.2:
        low_end = best.lr <= rates[0] * 1.2
        low, high = (rates[0] / 10, rates[-1]) if low_end else (rates[0], rates[-1] * 10)
        setting, word = bounds("lr", low, high)
        found.append(
            Advice(
                f"The best α, {rounded('lr', best.lr)}, is at the {'lower' if low_end else 'upper'} edge of those "
                "tried: a better one may lie beyond.",
                (setting,),
                word,
            )
        )
    values = sorted({trial.eps for trial in arm if trial.eps is not None})
    assert best.eps is not None
    at_low, at_high = best.eps <= values[0] * 1.2, best.eps >= values[-1] / 1.2
    # Where both ends are as good as the best, there is nothing beyond them.
    if kind in ("indifferent", "undecided") or not (at_low or at_high):
        return found
    probed = outcome.probe.range if outcome.probe is not None else None
    ends_the_range = probed is not None and (values[0] <= probed.lower if at_low else values[-1] >= probed.upper)
    low, high = (values[0] / 10, values[-1]) if at_low else (values[0], values[-1] * 10)
    where = f"The best ε, {rounded('eps', best.eps)}, is at the {'lower' if at_low else 'upper'} "
    where += (
        "end of the probed range: the power of ten beyond it may be better still."
        if ends_the_range
        else "edge of those tried: a better one may lie beyond."
    )
    setting, word = bounds("eps", low, high)
    beta2 = _given_beta2(arm) if outcome.probe is not None else ()
    found.append(Advice(where, (setting, *beta2), word))
    return found


def _power(name: str, trial: Trial) -> float:
    """The trial's value on a grid of powers of ten (β₂: of 1 - β₂), to compare what a sampler drew."""
    value = trial.cell[name]
    if name == "beta2":
        return round(1 - power_of_ten(round(math.log10(1 - value))), 15)
    return power_of_ten(round(math.log10(value)))


def _better(one: float, other: float, goal: Goal) -> float:
    return max(one, other) if goal == "maximize" else min(one, other)


def _behind(best: float, value: float, goal: Goal) -> float:
    """How far a value falls short of the best: 0 or more."""
    return difference(best, value) if goal == "maximize" else difference(value, best)
