"""What to run next, depending on the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epsearch.core.numbers import number, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.analysis.advice import Advice, bounds, more_seeds
from epsearch.report.analysis.values import Kind, shortfall

OUTSIDE_THE_ROOT = ("adam", "adamw", "amsgrad", "nadam", "radam", "rmsprop")
"""Optimizers that add ε to √v (Table 5)."""


INSIDE_THE_ROOT = ("eadam", "adamomentum")
"""Optimizers whose ε accumulates under the root."""


WIDENING = ("grid", "guided")
"""Samplers that go beyond the edges of their learning rates where lr is auto."""


FEW = 20
"""Trials to suggest where a sampler ran only one."""


def next_steps(kind: Kind, outcome: Outcome, best: Trial, tolerance: float) -> list[Advice]:
    """What would decide an undecided study, or follows from a verdict."""
    if kind == "undecided":
        return [more_seeds(max(len(trial.seed_values) for trial in outcome.trials))]
    if kind != "immutable":
        return []
    arms = {trial.optimizer for trial in outcome.trials}
    sgd = outcome.best_of("sgd_momentum")
    if sgd is not None and sgd.value is not None and best.value is not None:
        behind = shortfall(best.value, sgd.value, outcome.goal)
        same = "as good" if abs(behind) <= tolerance else f"{abs(behind):.2g} {'behind' if behind > 0 else 'better'}"
        return [Advice(f"SGD with momentum reached {number(sgd.value)} at α {rounded('lr', sgd.lr or 0)}: {same}.")]
    rate = sgd_rate(best)
    if rate is None or "sgd_momentum" in arms:
        return []
    momentum = " with momentum" if outcome.optimizer != "rmsprop" else ""
    setting, word = bounds("sgd_lr", rate / 10, rate * 10)
    others = sorted(arms - {outcome.optimizer})
    return [
        Advice(
            f"Try SGD{momentum} at a learning rate of {rounded('lr', rate)} (α divided by the "
            "denominator at this ε, with dampening equal to the momentum).",
            (f"search.baselines=[{','.join([*others, 'sgd_momentum'])}]", setting),
            word,
        )
    ]


def sgd_rate(trial: Trial) -> float | None:
    """The SGD learning rate equivalent to a trial whose ε is far above ẑ (Table 5); None if it is not constant."""
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


def edges(kind: Kind, outcome: Outcome, arm: Sequence[Trial], best: Trial) -> list[Advice]:
    """Advice to widen a range whose edge holds the optimum."""
    found = []
    rates = sorted({trial.lr for trial in arm if trial.lr is not None})
    assert best.lr is not None
    # A sampler gets close to an edge but rarely hits it.
    at_edge = best.lr <= rates[0] * 1.2 or best.lr >= rates[-1] / 1.2
    if at_edge and not (outcome.lr_test is not None and outcome.sampler in WIDENING):
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
    # If both ends are as good as the best, widening gains nothing.
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
    found.append(Advice(where, (setting, *given_without_probe(outcome, arm)), word))
    return found


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
