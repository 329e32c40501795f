"""What may be claimed from draws of the posterior: (draws, n) values of n ε, higher for better ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from epsearch.report.analysis.near import WINDOW
from epsearch.report.analysis.surface import Floats

CONFIDENCE = 0.95

NEGLIGIBLE = 0.002
"""A difference that is none, as a share of the best value: a model of smooth surfaces is not exact to a fifth of a
percent, and nobody would change an ε for it."""

RESOLUTION = 0.13
"""Half the step of δ between which an optimum is chosen: a cell that close to it is on both sides."""


def is_worse(drawn: Floats, row: int, others: Sequence[int], size: float) -> bool:
    """Whether an ε falls short of any of the others by more than a negligible share of the best value's `size`.

    The best of many is a lucky one, so the largest difference, in standard errors, is compared with the largest that
    the draws show around their own mean (a max-t test: Hothorn, Bretz and Westfall, Biometrical Journal 50, 2008).
    """
    others = [index for index in others if index != row]
    if not others:
        return False
    ahead = drawn[:, others] - drawn[:, [row]]
    mean, error = ahead.mean(axis=0), ahead.std(axis=0) + 1e-12
    by_chance = ((ahead - mean) / error).max(axis=1)
    return bool((by_chance >= ((mean - NEGLIGIBLE * size) / error).max()).mean() < 1 - CONFIDENCE)


def better_end(drawn: Floats) -> Literal["small", "large"] | None:
    """The end of ε that is better than the other one, with 97.5 % confidence; None if that is not sure.

    Neither end was picked by its result, so this difference needs no correction.
    """
    large = float((drawn[:, -1] > drawn[:, 0]).mean())
    tail = (1 - CONFIDENCE) / 2
    return "large" if large > 1 - tail else "small" if large < tail else None


def is_bracketed(optimum: float, tried: Floats) -> bool:
    """Whether lr were tried on both sides of an optimum and not far from it; all in decades.

    Otherwise its value is an extrapolation, of which a model is too sure: a search that follows its results leaves the
    ε that began badly.
    """
    # Up to twice the window, as cells beyond it count where few are within.
    near = tried[np.abs(tried - optimum) <= 2 * WINDOW] - optimum
    return len(near) > 1 and bool(near.min() <= RESOLUTION and near.max() >= -RESOLUTION)
