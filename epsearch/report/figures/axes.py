"""The axes of figures over hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epsearch.core.numbers import label, rounded
from epsearch.records.epsilon import power_of_ten

AXIS_TITLES = {
    "lr": "learning rate α (lr)",
    "eps": "immutability ε (eps)",
    "beta2": "momentum β₂ (beta2)",
}


def category_axis(name: str, values: Sequence[float]) -> dict[str, object]:
    """One step for each value, whatever lies between them: a log axis would give cells unequal widths."""
    labels = [label(name, value) for value in values]
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": labels,
        "range": [-0.5, len(labels) - 0.5],
        "title": {"text": AXIS_TITLES[name]},
        "showgrid": False,
    }


def log_axis(name: str, positions: Sequence[float]) -> dict[str, object]:
    """A log axis for `log_position` of the hyperparameter `name`; that of beta2 is log in 1 - beta2.

    Its ticks are whole decades where the `positions` span two or more: others would run into each other on a phone.
    """
    span = math.log10(max(positions) / min(positions)) if positions else 0.0
    axis: dict[str, object] = {
        "type": "log",
        "tickformat": "~e",
        "title": {"text": AXIS_TITLES[name]},
        **({"dtick": math.ceil(span / 8)} if span >= 2 else {"nticks": 6}),
    }
    if name == "beta2":
        complements = [power_of_ten(-digits) for digits in range(9)]
        axis |= {
            "autorange": "reversed",
            "tickvals": complements,
            "ticktext": [rounded(name, 1 - complement) for complement in complements],
        }
    return axis


def log_position(name: str, value: float) -> float:
    """Where `value` lies on `log_axis(name)`."""
    return 1 - value if name == "beta2" else value
