"""The axes of figures over hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epsearch.core.numbers import label, rounded
from epsearch.records.epsilon import power_of_ten

AXIS_TITLES = {
    "lr": "learning rate α (lr)",
    "eps": "ε (eps)",
    "beta2": "second-moment decay β₂ (beta2)",
}


def category_axis(name: str, values: Sequence[float]) -> dict[str, object]:
    """An axis with one equal step for each value; on a log axis, cells would have unequal widths."""
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
    """A log axis for `log_position` of the hyperparameter `name`; for beta2, log in 1 - beta2.

    If the `positions` span two decades or more, only whole decades get ticks: more would overlap on a phone.
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
    """The position of `value` on `log_axis(name)`."""
    return 1 - value if name == "beta2" else value
