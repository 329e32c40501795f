"""How numbers are written in figures, tables, sentences and on the terminal."""

from __future__ import annotations

import math

import numpy as np

SYMBOLS = {"lr": "α", "eps": "ε", "beta2": "β₂"}
"""The paper's symbols, by the code's names."""


def label(name: str, value: float) -> str:
    """The shortest text of `value`, of the hyperparameter `name`, that parses to the same float.

    Scientific for lr and eps (1e-5, 3e-4), positional for beta2 (0.999).
    """
    if value == 0 or (name == "beta2" and value >= 1e-4):
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("e+", "e")


def rounded(name: str, value: float) -> str:
    """`value` rounded to three significant digits (beta2: of 1 - beta2), for reading sampled values."""
    if name == "beta2":
        decimals = 2 - math.floor(math.log10(1 - value)) if value < 1 else 0
        return label(name, round(value, decimals))
    return label(name, float(f"{value:.2e}"))


def number(value: float) -> str:
    """A metric with four significant digits, trailing zeros included: 0.9120, 82.30, 1234."""
    # Compare the rounded value: 999.97 becomes 1000, for which `#` would leave a trailing dot.
    if 1000 <= abs(float(f"{value:.4g}")) < 1e6:
        return f"{value:.0f}"
    return f"{value + 0.0:#.4g}"  # without the sign of -0.0


def brief(value: float) -> str:
    """A metric with three significant digits, for narrow cells: 0.912, 82.3, 1234, 2.1e+04."""
    size = abs(float(f"{value:.3g}"))
    if size >= 1e4 or 0 < size < 1e-3:
        return f"{value:.1e}"
    return f"{value:.0f}" if size >= 100 else f"{value + 0.0:#.3g}"


def percent(share: float) -> str:
    """A share as in Table 2: 61.50%, 0%, 2e-5%; >99.99% for values just below 100%."""
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
