"""The verdict: which ε are equally good, what to do, and how sure that is. Pure functions.

Every claim about ε is made from `profile`: what each ε reaches at its best lr and β₂, with its uncertainty. An ε is
worse where that is 95 % sure even though the best is the luckiest of many, and equal to the best where it is 95 % sure
to fall short by no more than the tolerance. What is neither is not claimed to be either. A study that is too small or
unfinished gets no verdict.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from epsearch.core.averages import difference
from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label, number, percent, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.registry.optimizers import OPTIMIZERS
from epsearch.report.analysis.advice import Advice
from epsearch.report.analysis.baseline import Comparison, compare
from epsearch.report.analysis.beta2 import effect_of_beta2
from epsearch.report.analysis.cells import state_of
from epsearch.report.analysis.coordinates import NO_DAMPING, is_same_damping
from epsearch.report.analysis.evidence import too_small
from epsearch.report.analysis.line import line
from epsearch.report.analysis.next_steps import next_steps
from epsearch.report.analysis.profile import Profile, Row, profile
from epsearch.report.analysis.values import Kind, amount

CLASSES: Mapping[Kind, str] = {
    "immutable": "Fully immutable: the best ε is large, where {optimizer} acts like SGD with momentum.",
    "adaptable": "Fully adaptable: the best ε is small, where every parameter keeps its own learning rate.",
    "partial": "Partial: the best ε lies between, better than either end.",
    "indifferent": "Indifferent: ε makes no difference here once the learning rate is tuned.",
    "undecided": "",
}
"""The paper's classes."""


@dataclass(frozen=True)
class Verdict:
    """What a study shows about ε.

    Attributes:
        kind: The paper's class; undecided if the noise, an edge, or missing trials hide it.
        headline: The finding in a sentence.
        action: What to do.
        line: The optimizer with these settings, as code to copy; None if nothing is complete.
        sure: The paper's class in words, or why there is none.
        reasons: The numbers behind it.
        advice: What to run next; the first settles the most.
        interval: The smallest and largest ε that are equal to the best; None without a verdict.
        within: In units of the metric, how far an ε of the interval may fall short of the best (95 %).
        eps, lr: The recommended values.
        rows: What each ε reaches.
        tolerance: Differences between two studies' best values up to this are ties; None for too few trials.
        sigma: The noise of one training; None without a verdict.
    """

    kind: Kind
    headline: str
    action: str = ""
    line: str | None = None
    sure: str = ""
    reasons: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()
    interval: tuple[float, float] | None = None
    within: float | None = None
    eps: float | None = None
    lr: float | None = None
    rows: tuple[Row, ...] = field(default=())
    tolerance: float | None = None
    sigma: float | None = None


_LAST: list[tuple[weakref.ref[Outcome], Verdict]] = []
"""The last outcome and its verdict: page, figures and dashboard show the same one, and it takes seconds."""


def verdict(outcome: Outcome) -> Verdict:
    """The verdict on the searched optimizer. Values of ε that a sampler drew count for the nearest power of ten."""
    if not _LAST or _LAST[0][0]() is not outcome:
        _LAST[:] = [(weakref.ref(outcome), _verdict(outcome))]
    return _LAST[0][1]


def _verdict(outcome: Outcome) -> Verdict:
    arm = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer]
    complete = [trial for trial in arm if state_of(trial) == "complete"]
    if (missing := too_small(outcome, arm, complete)) is not None:
        return _too_small(outcome, missing)
    found = profile(outcome)
    rows, best = found.rows, found.rows[found.best]
    kind = _kind(found)
    low, high = _interval(rows, found.best)
    interval = rows[low].eps, rows[high].eps
    within = max(row.at_most for row in rows[low : high + 1])
    eps, row, default = _recommended(outcome, found, low, high)
    baseline = compare(outcome, found)
    return Verdict(
        kind=kind,
        headline=_headline(outcome, found, kind, low, high, within),
        action=_action(outcome, found, kind, eps, row, default, baseline),
        line=line(outcome.optimizer, row.lr, eps, row.beta2),
        sure=CLASSES[kind].format(optimizer=outcome.optimizer) or _why_undecided(found),
        reasons=tuple(_reasons(outcome, found, complete, best)),
        advice=tuple(next_steps(kind, outcome, arm, found, baseline)),
        interval=interval,
        within=within,
        eps=eps,
        lr=row.lr,
        rows=rows,
        # Of a difference of two such values: half the width of an interval, times √2.
        tolerance=difference(best.high, best.low) * math.sqrt(0.5),
        sigma=found.sigma,
    )


def _too_small(outcome: Outcome, missing: Advice) -> Verdict:
    best = outcome.best
    copied = line(best.optimizer, best.lr, best.eps, best.beta2) if best is not None and best.lr is not None else None
    headline = "Undecided: not enough evidence yet."
    return Verdict("undecided", headline, line=copied, sure=missing.text, reasons=(missing.text,), advice=(missing,))


def _kind(found: Profile) -> Kind:
    """The paper's class, if both ends of ε are known well enough."""
    first, last = found.rows[0], found.rows[-1]
    low_is_worse = found.pruned[0] or _is_worse(first, found.rows)
    high_is_worse = found.pruned[1] or _is_worse(last, found.rows)
    if low_is_worse and high_is_worse:
        return "partial"
    # It must be sure that one end is better than the other, not only that the other falls short of the best of all.
    # It counts as good up to half of what the other loses, as then it is nearer to the best than to the other end.
    large_is_better = low_is_worse and (found.pruned[0] or found.better_end == "large")
    small_is_better = high_is_worse and (found.pruned[1] or found.better_end == "small")
    if large_is_better and last.at_most <= max(found.tolerance, first.behind / 2):
        return "immutable"
    if small_is_better and first.state != "edge" and first.at_most <= max(found.tolerance, last.behind / 2):
        return "adaptable"
    known = all(row.state in ("equal", "unknown") for row in found.rows) and not any(found.pruned)
    return "indifferent" if known and found.within <= found.tolerance else "undecided"


def _is_worse(end: Row, rows: Sequence[Row]) -> bool:
    """Whether an end of ε is worse than the best, by itself or as one of those that theory says equal it."""
    states = {row.state for row in rows if row == end or is_same_damping(row.damping, end.damping)}
    return "worse" in states and "equal" not in states


def _interval(rows: Sequence[Row], best: int) -> tuple[int, int]:
    """The first and last index of the ε around the best that are equal to it."""
    low = high = best
    while low > 0 and rows[low - 1].state == "equal":
        low -= 1
    while high < len(rows) - 1 and rows[high + 1].state == "equal":
        high += 1
    return low, high


def _adapts(row: Row) -> bool:
    """Whether the optimizer adapts fully at this ε, so that every smaller one is equal."""
    return row.damping is not None and row.damping <= NO_DAMPING


def _recommended(outcome: Outcome, found: Profile, low: int, high: int) -> tuple[float, Row, float | None]:
    """The ε to use, the row that shows its lr, and the optimizer's default ε.

    The default if it is as good as any, or not known to be worse; otherwise the best.
    """
    rows = found.rows
    default = OPTIMIZERS[outcome.optimizer].eps if outcome.optimizer in OPTIMIZERS else None
    if default is not None:
        if default < rows[0].eps and _adapts(rows[0]) and rows[0].state != "worse":
            return default, rows[0], default
        for row in rows:
            if row.eps == default and row.state != "worse":
                return default, row, default
    return rows[found.best].eps, rows[found.best], default


def _headline(outcome: Outcome, found: Profile, kind: Kind, low: int, high: int, within: float) -> str:
    rows = found.rows
    metric = one_line(outcome.metric, 60)
    if high > low:
        text = f"Any ε from {label('eps', rows[low].eps)} to {label('eps', rows[high].eps)} is equally good"
        text += f", within {amount(within, outcome)} (95 %)."
    else:
        text = f"The best ε seen is {label('eps', rows[low].eps)}."
    worse = [row for row in rows if row.state == "worse"]
    if worse:
        nearest = min(worse, key=lambda row: row.behind)
        where = _powers(worse, rows)
        return f"{text} {where} worse: by {amount(nearest.behind, outcome, nearest.error)} or more."
    if kind == "undecided":
        return (
            f"Cannot tell which ε is best: differences of {metric} up to {amount(found.within, outcome)} may be noise."
        )
    return text


def _powers(rows: Sequence[Row], all_rows: Sequence[Row]) -> str:
    """`From 1e-3 on it is`, `Up to 1e-7 it is`, or `1e-7 and 1e-1 are`: the ε that are worse."""
    names = [label("eps", row.eps) for row in rows]
    if list(rows) == list(all_rows[-len(rows) :]):
        return f"From {names[0]} on it is"
    if list(rows) == list(all_rows[: len(rows)]):
        return f"Up to {names[-1]} it is"
    return f"{listed(names)} {'are' if len(names) > 1 else 'is'}"


def _action(
    outcome: Outcome,
    found: Profile,
    kind: Kind,
    eps: float,
    row: Row,
    default: float | None,
    baseline: Comparison | None,
) -> str:
    lr = rounded("lr", row.lr)
    if baseline is not None and baseline.fair and baseline.behind + baseline.error <= found.tolerance:
        good = "better" if baseline.behind + baseline.error < 0 else "as good"
        rate = rounded("lr", baseline.trial.lr or 0.0)
        return f"An adaptive optimizer gains nothing here: SGD with momentum at lr {rate} is {good}."
    if eps == default:
        alone = sum(other.state == "equal" for other in found.rows) < 2
        sure = "" if kind != "undecided" or (row.state == "equal" and not alone) else "Nothing is known to be better: "
        text = f"keep the default ε, {label('eps', eps)}, and tune lr: {lr} is best here."
        return sure + (text if sure else f"K{text[1:]}")
    text = f"Use ε {label('eps', eps)} with lr {lr}"
    known = next((other for other in found.rows if default is not None and other.eps == default), None)
    if default is not None and known is None and default < found.rows[0].eps and _adapts(found.rows[0]):
        known = found.rows[0]
    if known is not None and known.state == "worse":
        gain = amount(known.behind, outcome, known.error)
        return f"{text}: better than the default, {label('eps', default or 0.0)}, by {gain}."
    return f"{text}." if kind != "undecided" else f"{text}, the best seen so far."


def _why_undecided(found: Profile) -> str:
    edge = [row.eps for row in found.rows if row.state == "edge"]
    if edge:
        names = ", ".join(label("eps", each) for each in edge)
        return f"No class yet: at ε {names} the best lr is at an edge of those tried, so these ε are unknown."
    return "No class yet: the noise hides whether the ends of ε differ."


def _reasons(outcome: Outcome, found: Profile, complete: Sequence[Trial], best: Row) -> list[str]:
    ends = [("smallest", found.rows[0]), ("largest", found.rows[-1])]
    texts = [_end(which, row, row == best, outcome) for which, row in ends]
    seeds = max((len(trial.seed_values) for trial in complete), default=1)
    source = (
        f"{count(seeds, 'seed')} each and from cells close to each other" if seeds > 1 else "cells close to each other"
    )
    noise = f"Noise of one training: {amount(found.sigma, outcome)}, estimated from {source}"
    noise += f", and from a test set of {found.examples:,} examples." if found.examples else "."
    texts += [noise, f"Differences up to {amount(found.tolerance, outcome)} count as equal."]
    return texts + [text for text in (_share(outcome, best), effect_of_beta2(outcome, complete, found)) if text]


def _end(which: str, row: Row, best: bool, outcome: Outcome) -> str:
    metric = one_line(outcome.metric, 60)
    band = f"{number(row.value)} ({number(row.low)} to {number(row.high)})"
    text = f"At the {which} ε, {label('eps', row.eps)}, the best {metric} is {band}"
    if row.state == "edge":
        return f"{text}, at an edge of the learning rates tried: it may be better beyond."
    if best:
        return f"{text}, the best of all."
    if row.behind < 0:
        return f"{text}, from too few learning rates around it to count as the best."
    return f"{text}: {amount(row.behind, outcome, row.error)} behind the best."


def _share(outcome: Outcome, best: Row) -> str:
    if outcome.probe is None:
        return ""
    share = outcome.probe.adaptive_fraction(best.eps)
    if share == 0:
        return f"At the best ε no parameter keeps its own learning rate: {outcome.optimizer} acts like SGD here."
    return (
        f"After the probe, {percent(share)} of ẑ was above the best ε: these parameters keep their own learning rate."
    )
