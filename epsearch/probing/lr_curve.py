"""Read a learning rate from the curve of a learning-rate test: numbers in, numbers out.

The losses at the first, negligible learning rates give the level from which the loss falls. Two points of the smoothed
curve are read: the lr at which a quarter of its whole fall is reached, and the lr at which it is back at that level.
The suggestion lies between them, by constants fitted to dense tables of trainings (benchmarks/lr_tests.py): where the
loss falls in two stages, as that of a language model does, the first point alone is too low.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from epsearch.core.averages import smoothed
from epsearch.core.numbers import label

FIRST_LR, LAST_LR = 1e-6, 30.0

QUARTER = 0.25
"""The part of the fall at the first point."""

TOWARD_RISE, SHIFT = 1 / 3, -0.55
"""Part of the way from the first point to the second, and decades to add, which make up for the smoothing's lag."""

MARGIN = 10.0
"""The bounds are the suggestion divided and multiplied by this."""

WIDE = (1e-5, 1.0)
"""The bounds if the curve shows nothing."""

START_STEPS = 10
"""Steps at the start whose lr is negligible."""

LEAST_FALL = 1.5
"""The least fall of the smoothed loss that counts, in standard deviations of the loss between batches: of constant
losses with normal noise, 1 in 100 falls further."""

FEWEST_STEPS = 20
"""Steps without which a curve is not read."""


class CurveReading(NamedTuple):
    """What a curve suggests; `suggestion` is None if it shows nothing, and `reason` why."""

    suggestion: float | None
    low: float
    high: float
    reason: str


def rising_lrs(steps: int) -> list[float]:
    """The lr of each step: from `FIRST_LR` to `LAST_LR`, by equal factors."""
    decades = math.log10(LAST_LR / FIRST_LR)
    return [FIRST_LR * 10 ** (decades * step / max(1, steps - 1)) for step in range(steps)]


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether the smoothed loss has risen to 4 times its minimum, or by 3 times its fall if that is more."""
    if len(losses) <= START_STEPS:
        return False
    curve = smoothed(losses)
    start, least = statistics.median(losses[:START_STEPS]), min(curve[START_STEPS:])
    return curve[-1] - least > 3 * max(abs(least), start - least)


def read_curve(lrs: Sequence[float], losses: Sequence[float]) -> CurveReading:
    """The suggestion of a curve: `losses[i]` is the loss of the batch at step i, before its update with `lrs[i]`."""
    if len(losses) < FEWEST_STEPS:
        return _nothing(f"training took only {len(losses)} steps; the test needs {FEWEST_STEPS}")
    curve = smoothed(losses)
    start = statistics.median(losses[:START_STEPS])
    # Of the first steps the average is as noisy as a batch.
    lowest = min(range(START_STEPS, len(curve)), key=curve.__getitem__)
    fall = start - curve[lowest]
    # A loss of float32 is rounded.
    if fall <= max(LEAST_FALL * _noise(losses[: lowest + 1]), 1e-5 * abs(start)):
        return _nothing("the loss fell no further than it differs between batches")
    # The last time before the minimum: neither an easy batch nor a spike at the start counts.
    above = max((step for step in range(lowest) if curve[step] > start - QUARTER * fall), default=-1)
    back = next((step for step in range(lowest, len(curve)) if curve[step] > start), len(curve) - 1)
    falls, rises = lrs[above + 1], lrs[back]
    suggestion = falls ** (1 - TOWARD_RISE) * rises**TOWARD_RISE * 10**SHIFT
    at = (label("lr", float(f"{lr:.2g}")) for lr in (falls, rises))
    return CurveReading(
        suggestion,
        suggestion / MARGIN,
        suggestion * MARGIN,
        "the loss has made a quarter of its fall at lr {} and is back at its start at lr {}".format(*at),
    )


def _noise(losses: Sequence[float]) -> float:
    """Standard deviation of the loss between batches, from successive losses, so that the fall itself hardly counts."""
    steps = [abs(after - before) for before, after in itertools.pairwise(losses)]
    return statistics.median(steps) / 0.954  # the median of |x - y| of two normal variables


def _nothing(reason: str) -> CurveReading:
    return CurveReading(None, *WIDE, reason)
