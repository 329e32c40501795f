"""What to run next, depending on the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epsearch.core.numbers import label, number, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.ridge import sgd_lrs
from epsearch.records.trial import Trial
from epsearch.report.analysis.advice import SEEDS, Advice, bounds, more_seeds, priced
from epsearch.report.analysis.baseline import Comparison
from epsearch.report.analysis.profile import Profile, Row
from epsearch.report.analysis.sgd_rate import sgd_rate
from epsearch.report.analysis.values import Kind, amount

WIDENING = ("grid", "guided")
"""Samplers that go beyond the edges of their learning rates where lr is auto."""


FEW = 20
"""Trials to suggest where a sampler ran only one."""


def next_steps(
    kind: Kind, outcome: Outcome, arm: Sequence[Trial], found: Profile, baseline: Comparison | None
) -> list[Advice]:
    """What would settle the most, first: an lr range that is too narrow, then noise, then the baseline and ε's ends."""
    best = found.rows[found.best]
    steps, wider_eps = _wider_lr(outcome, arm, found), _wider_eps(kind, outcome, arm, found)
    # More seeds of a range that is too narrow would have to be repeated after it is widened.
    if kind == "undecided" and not steps and not wider_eps:
        seeds = max(len(trial.seed_values) for trial in outcome.trials)
        steps.append(priced(more_seeds(max(seeds, 1)), outcome, len(arm) * _times(seeds)))
    if kind == "immutable":
        steps += _baseline(outcome, best, found, baseline)
    return steps + wider_eps


def _times(seeds: int) -> float:
    """How much longer a trial takes with the next number of seeds."""
    wanted = next((number for number in SEEDS if number > seeds), seeds)
    return wanted / max(seeds, 1)


def _baseline(outcome: Outcome, best: Row, found: Profile, baseline: Comparison | None) -> list[Advice]:
    """Whether SGD is as good where the best ε is large: compare it, or search it where theory puts it."""
    if baseline is not None and baseline.fair:
        value, rate = number(baseline.trial.value or 0.0), rounded("lr", baseline.trial.lr or 0.0)
        text = f"SGD with momentum reached {value} at α {rate}: "
        difference = amount(abs(baseline.behind), outcome, baseline.error)
        if abs(baseline.behind) > baseline.error:
            text += f"{difference} {'behind' if baseline.behind > 0 else 'better'}."
        elif abs(baseline.behind) + baseline.error <= found.tolerance:
            text += "as good."
        else:
            text += f"the difference, {difference}, is within the noise."
        return [Advice(text)]
    rate_of = sgd_rate(outcome.optimizer, best.lr, best.eps, best.beta2)
    if rate_of is None:
        return []
    rates = sgd_lrs(rate_of)
    arms = {trial.optimizer for trial in outcome.trials} - {outcome.optimizer, "sgd_momentum"}
    momentum = " with momentum" if outcome.optimizer != "rmsprop" else ""
    listed_rates = ", ".join(f"{rate:g}" for rate in rates)
    if baseline is None:
        why = (
            f"Try SGD{momentum} at a learning rate of {rounded('lr', rate_of)} (α divided by the denominator at this "
            "ε, with dampening equal to the momentum)."
        )
    else:
        why = f"SGD{momentum} was tried at too few learning rates around {rounded('lr', rate_of)} to compare it."
    settings = (f"search.baselines=[{','.join([*sorted(arms), 'sgd_momentum'])}]", f"search.sgd_lr=[{listed_rates}]")
    return [priced(Advice(why, settings, "sgd"), outcome, len(rates))]


def _wider_lr(outcome: Outcome, arm: Sequence[Trial], found: Profile) -> list[Advice]:
    """Widen lr where an ε has its best lr at an edge of those tried."""
    edge = [row for row in found.rows if row.state == "edge"]
    if not edge or (outcome.lr_test is not None and outcome.sampler in WIDENING):
        return []
    rates = sorted({trial.lr for trial in arm if trial.lr is not None})
    middle = math.sqrt(rates[0]) * math.sqrt(rates[-1])
    low = rates[0] / 10 if any(row.lr < middle for row in edge) else rates[0]
    high = rates[-1] * 10 if any(row.lr > middle for row in edge) else rates[-1]
    names = ", ".join(label("eps", row.eps) for row in edge)
    text = f"At ε {names} the best α is at an edge of those tried: a better one may lie beyond."
    setting, word = bounds("lr", low, high)
    rows = len({(trial.eps, trial.beta2) for trial in arm}) if outcome.sampler == "grid" else 0
    powers = range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9) + 1)
    new = sum(all(abs(math.log10(rate) - power) > 1e-6 for rate in rates) for power in powers)
    return [priced(Advice(text, (setting,), word), outcome, new * rows or len(arm))]


def _wider_eps(kind: Kind, outcome: Outcome, arm: Sequence[Trial], found: Profile) -> list[Advice]:
    """Widen ε where only its last value is the best."""
    if kind == "indifferent" or len(found.rows) < 2:  # only one ε has values, if all others were pruned
        return []
    rows, values = found.rows, sorted({trial.eps for trial in arm if trial.eps is not None})
    at_low = found.best == 0 and rows[1].behind > rows[1].error
    at_high = found.best == len(rows) - 1 and rows[-2].behind > rows[-2].error
    if not (at_low or at_high):
        return []
    probed = outcome.probe.range if outcome.probe is not None else None
    ends_the_range = probed is not None and (values[0] <= probed.lower if at_low else values[-1] >= probed.upper)
    low, high = (values[0] / 10, values[-1]) if at_low else (values[0], values[-1] * 10)
    where = f"The best ε, {label('eps', rows[found.best].eps)}, is at the {'lower' if at_low else 'upper'} "
    where += (
        "end of the probed range: the power of ten beyond it may be better still."
        if ends_the_range
        else "edge of those tried: a better one may lie beyond."
    )
    setting, word = bounds("eps", low, high)
    columns = len({(trial.lr, trial.beta2) for trial in arm}) if outcome.sampler == "grid" else len(arm)
    return [priced(Advice(where, (setting, *given_without_probe(outcome, arm)), word), outcome, columns)]


def given_without_probe(outcome: Outcome, trials: Sequence[Trial]) -> tuple[str, ...]:
    """The settings of what `auto` finds by the probe, for a study that gives ε instead: the tried β₂ and lr."""
    if outcome.probe is None:
        return ()
    rates = sorted({trial.lr for trial in trials if trial.lr is not None})
    lr = (bounds("lr", rates[0], rates[-1])[0],) if outcome.lr_test is not None else ()
    return (*lr, *given_beta2(trials))


def given_beta2(trials: Sequence[Trial]) -> tuple[str, ...]:
    """The setting that keeps the one β₂ tried; `auto` would need the probe to count the batches."""
    values = sorted({trial.beta2 for trial in trials if trial.beta2 is not None})
    return (f"search.beta2={rounded('beta2', values[0])}",) if len(values) == 1 else ()
