"""A study's results in sentences, for the head of the report and the note in Optuna's dashboard."""

from __future__ import annotations

from collections import Counter

from epsearch.core.averages import difference
from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label
from epsearch.records.outcome import Outcome
from epsearch.records.outliers import explain_ranges
from epsearch.records.text import describe_cell, measured
from epsearch.report.figures.baseline import BASELINE
from epsearch.report.figures.literature import LITERATURE


def sentences(outcome: Outcome) -> list[str]:
    """Plain text, not escaped: the range, why the paper's differs, the trials by state, the best trial, the baseline."""
    texts = (_range(outcome), _why(outcome), _states(outcome), _best(outcome), _baseline(outcome))
    return [text for text in texts if text]


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
