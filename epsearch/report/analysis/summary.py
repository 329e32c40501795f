"""A study's results in sentences, for the head of the report and the note in Optuna's dashboard."""

from __future__ import annotations

from collections import Counter

from epsearch.core.averages import difference
from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.outliers import explain_ranges
from epsearch.records.text import describe_cell, measured
from epsearch.report.figures.baseline import BASELINE
from epsearch.report.figures.literature import LITERATURE
from epsearch.study.box import Box


def sentences(outcome: Outcome) -> list[str]:
    """Plain text, not escaped: the range, why the paper's differs, the lr test, the trials, the best ones."""
    parts = (_range, _why, _lr_test, _states, _best, widened, _baseline)
    return [text for part in parts if (text := part(outcome))]


def _range(outcome: Outcome) -> str:
    if outcome.probe is None:
        return "The study file gives ε, so nothing was probed."
    found = outcome.probe.range
    epochs = outcome.probe.settings.get("epochs")
    after = f" of {count(int(epochs), 'epoch')}" if isinstance(epochs, int | float) else ""
    points = len(found.grid())
    return (
        f"A probe{after} found the useful range of ε: {label('eps', found.lower)} to "
        f"{label('eps', found.upper)}, {count(points, 'power')} of ten, where searches in the literature "
        f"try up to {LITERATURE}."
    )


def _why(outcome: Outcome) -> str:
    return "" if outcome.probe is None else explain_ranges(outcome.probe)


def _lr_test(outcome: Outcome) -> str:
    test = outcome.lr_test
    if test is None:
        return ""
    if test.suggestion is None:
        return f"A learning-rate test suggested no α, so a wide range was searched: {one_line(test.reason)}."
    at = f" at ε {rounded('eps', test.eps)}" if test.eps is not None else ""
    return (
        f"A learning-rate test of {count(len(test.lrs), 'step')} suggested α {rounded('lr', test.suggestion)}{at}; "
        "from there the expected ridge rises with ε as the probe predicts."
    )


def widened(outcome: Outcome) -> str:
    """Whether the search went beyond the learning rates around the ridge, and why; empty if it did not."""
    if outcome.sampler == "guided" and outcome.probe is not None and outcome.lr_test is not None:
        box = Box(outcome.probe, outcome.lr_test)
        searched = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer]
        beyond = count(sum(box.excludes(trial.lr, trial.eps) for trial in searched if trial.lr and trial.eps), "trial")
        return "" if beyond == "0 trials" else f"The best α lay near the edge of its box, so {beyond} went beyond."
    if not outcome.widenings:
        return ""
    first = outcome.widenings[0]
    added = count(sum(widening.trials for widening in outcome.widenings), "trial")
    return (
        f"The best α around the ridge, {rounded('lr', first.lr)} at ε {rounded('eps', first.eps)}, was the "
        f"{first.edge} tried there, so {added} beyond it were added."
    )


def _states(outcome: Outcome) -> str:
    if not outcome.trials:
        return "No trial has run yet."
    states = Counter(trial.state for trial in outcome.trials)
    reasons = Counter(trial.fail_reason for trial in outcome.trials if trial.fail_reason)
    why = listed([f"{times} {reason}" for reason, times in reasons.most_common()])
    words = [
        f"{states['complete']} complete",
        f"{states['pruned']} pruned",
        f"{states['failed']} failed" + (f" ({why})" if why else ""),
        f"{states['running']} running",
        f"{states['waiting']} waiting",
    ]
    there = [text for text in words if not text.startswith("0 ")]
    return f"Of {count(len(outcome.trials), 'trial')}, {listed(there)}."


def _best(outcome: Outcome) -> str:
    if outcome.best is None:
        return f"No trial of {outcome.optimizer} is complete yet." if outcome.trials else ""
    best = outcome.best
    return (
        f"Best {one_line(outcome.metric, 60)}: {measured(best)}, {outcome.optimizer} with {describe_cell(best)} "
        f"(trial {best.number})."
    )


def _baseline(outcome: Outcome) -> str:
    baseline, best = outcome.best_of(BASELINE), outcome.best
    if baseline is None or baseline.value is None or outcome.optimizer == BASELINE:
        return ""
    reached = f"SGD with momentum reached {measured(baseline)} with {describe_cell(baseline)}"
    if best is None or best.value is None:
        return f"{reached}."
    lead = difference(baseline.value, best.value) * (1 if outcome.goal == "maximize" else -1)
    if lead == 0:
        return f"{reached}: as good as {outcome.optimizer}."
    return f"{reached}: {abs(lead):.2g} {'better' if lead > 0 else 'worse'} than {outcome.optimizer}."
