"""A trial's value and hyperparameters as text."""

from __future__ import annotations

from epsearch.core.numbers import SYMBOLS, count, number, rounded
from epsearch.records.trial import Trial


def measured(trial: Trial) -> str:
    """The trial's value with its spread over seeds: 0.9120 ± 0.0013 (3 seeds)."""
    if trial.value is None:
        return "no value"
    if trial.spread is None:
        return number(trial.value)
    seeds = f" ({count(len(trial.seed_values), 'seed')})" if trial.seed_values else ""
    return f"{number(trial.value)} ± {trial.spread:.2g}{seeds}"


def describe_cell(trial: Trial) -> str:
    """The trial's hyperparameters: α 1e-3, ε 1e-2, β₂ 0.999."""
    return ", ".join(f"{SYMBOLS[name]} {rounded(name, value)}" for name, value in trial.cell.items())
