"""How numbers are written in figures, tables, sentences and on the terminal."""

from __future__ import annotations

import math

import numpy as np

SYMBOLS = {"lr": "α", "eps": "ε", "beta2": "β₂"}
"""The paper's symbols by the names of the code."""


def label(name: str, value: float) -> str:
    """`value` of the hyperparameter `name`, written in as few digits as tell it from any other float.

    1e-5 and 3e-4 for lr and eps (no zeros to count), 0.999 for beta2.
    """
    if value == 0 or (name == "beta2" and value >= 1e-4):
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("e+", "e")


def rounded(name: str, value: float) -> str:
    """`value` to three digits (beta2: of 1 - beta2): to read a sampled value, not to tell it apart."""
    if name == "beta2":
        decimals = 2 - math.floor(math.log10(1 - value)) if value < 1 else 0
        return label(name, round(value, decimals))
    return label(name, float(f"{value:.2e}"))


def number(value: float) -> str:
    """A metric to four significant digits, trailing zeros kept: 0.9120, 82.30, 1234."""
    # By what it is rounded to: 999.97 is 1000, where `#` would leave a dot with nothing after it.
    if 1000 <= abs(float(f"{value:.4g}")) < 1e6:
        return f"{value:.0f}"
    return f"{value + 0.0:#.4g}"  # without the sign of -0.0


def percent(share: float) -> str:
    """A share as Table 2 writes it: 61.50%, 0%, 2e-5%; >99.99% where it is not quite 100%."""
    if not 0 < share < 1:
        return f"{share:.0%}"
    if share < 5e-5:
        return f"{label('eps', float(f'{100 * share:.0e}'))}%"
    return f"{share:.2%}" if share < 0.99995 else ">99.99%"


def ordinal(value: float) -> str:
    """`2nd`, `98th`, `97.5th`."""
    text = f"{value:g}"
    teen = text.endswith(("11", "12", "13"))
    return text + ("th" if teen or "." in text else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th"))


def count(how_many: int, noun: str) -> str:
    """`1 trial`, `2,570 trials`."""
    return f"{how_many:,} {noun}{'s' * (how_many != 1)}"
