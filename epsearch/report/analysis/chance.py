"""What the model reaches without training. Pure functions."""

from __future__ import annotations

import math
import statistics

from epsearch.records.outcome import Outcome
from epsearch.report.analysis.cells import state_of

FEW = 5
"""Steps of a learning-rate test in which lr is too small to train anything."""

ALIKE = 0.02
"""Two trials that do not learn differ by less, as a share of their values."""

CLEAR = 0.2
"""The best trial differs from chance by more, as a share of its value."""


def chance(outcome: Outcome) -> float | None:
    """The value of the untrained model; None if the study does not show it.

    From the first losses of the learning-rate test; otherwise from the two smallest lr at the largest ε, if these
    trials are equal: none of them learned.
    """
    if outcome.best is None or outcome.best.value is None:
        return None
    found = _tested(outcome)
    found = _corner(outcome) if found is None else found
    if found is None:
        return None
    best = outcome.best.value
    better = best / 2 > found / 2 if outcome.goal == "maximize" else best / 2 < found / 2
    return found if better and abs(found / 2 - best / 2) > CLEAR * abs(best / 2) else None


def _tested(outcome: Outcome) -> float | None:
    """From the loss of the test, the cross-entropy of a prediction that knows nothing."""
    if outcome.lr_test is None:
        return None
    loss = statistics.fmean(outcome.lr_test.losses[:FEW])
    if outcome.metric == "loss":
        return loss
    if not 0 < loss < 100:
        return None
    return {"accuracy": math.exp(-loss), "perplexity": math.exp(loss)}.get(outcome.metric)


def _corner(outcome: Outcome) -> float | None:
    complete = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer and trial.eps]
    complete = [trial for trial in complete if state_of(trial) == "complete"]
    largest = max((trial.eps or 0.0 for trial in complete), default=0.0)
    slow = sorted((trial for trial in complete if trial.eps == largest), key=lambda trial: trial.lr or 0.0)
    rates = sorted({trial.lr for trial in slow if trial.lr is not None})[:2]
    if len(rates) < 2:
        return None
    values = [trial.value or 0.0 for trial in slow if trial.lr in rates]
    alike = max(values) / 2 - min(values) / 2 <= ALIKE * max(map(abs, values)) / 2
    return statistics.median_low(values) if alike else None
