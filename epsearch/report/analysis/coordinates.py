"""Where cells lie for the model of a study: lr relative to the ridge, and how much ε damps.

One epoch's ẑ is not that of the whole training, and the elements that matter most are not the average ones. So the
probe's ẑ may be off by some decades, which the values of the study decide. Without a probe, ẑ may lie anywhere between
the values of ε that were tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from epsearch.records.histogram import BINS_PER_DECADE
from epsearch.records.outcome import Outcome
from epsearch.report.analysis.sgd_rate import INSIDE_THE_ROOT
from epsearch.report.analysis.surface import Floats

SHIFTS = (-2, -1, 0, 1)
"""Decades by which ε may act otherwise than the probe expects: -1 as if it were a tenth."""

STEP = 0.05
"""Resolution of ε in decades: the means over ẑ are interpolated between."""

PLAIN = -math.log(4)
"""Log of the prior odds that the probed damping explains nothing."""

DECADES = 4.0
"""Decades of ε that count as much as all of the damping, where the damping explains nothing."""

NO_DAMPING = 0.05
"""A difference of the damping that changes next to nothing: no ε reaches more or less for a twentieth of the update."""

Point = tuple[float, float, float | None]
"""lr, ε and β₂."""


def is_same_damping(one: float | None, other: float | None) -> bool:
    """Whether theory says that two ε reach the same, each at its own lr; False without a probe."""
    return one is not None and other is not None and abs(one - other) <= NO_DAMPING


class Coordinates:
    """Maps cells to hypotheses of their coordinates."""

    def __init__(self, outcome: Outcome) -> None:
        logs = [math.log10(trial.eps) for trial in outcome.trials if trial.eps]
        low, high = min(logs), max(logs)
        if outcome.probe is not None:
            histogram, root = outcome.probe.histogram, outcome.probe.root
            z = (np.arange(len(histogram.counts)) + histogram.start + 0.5) / BINS_PER_DECADE
            share = np.array(histogram.counts, dtype=float) / sum(histogram.counts)
            filled = share > 0
            levels = [(z[filled] - shift, share[filled]) for shift in SHIFTS]
        else:
            root = 0.5 if outcome.optimizer in (*INSIDE_THE_ROOT, "adabelief") else 1.0
            one = np.ones(1)
            levels = [(one * level, one) for level in range(math.floor(low), math.ceil(high) + 1)]
        self._grid = np.arange(low - STEP, high + 2 * STEP, STEP)
        self._tables = [_means(self._grid, z, share, root) for z, share in levels]
        # The values may also follow log10 ε itself, with a ridge as expected or none.
        plain = (self._grid - low) / DECADES
        others = [(shift, plain) for shift, _ in self._tables[1:3]] + [(0.0 * plain, plain)]
        self.doubts = [0.0] * len(self._tables) + [PLAIN if outcome.probe else 0.0] * len(others)
        self._tables += others

    def of(self, cells: Sequence[Point]) -> list[Floats]:
        """δ without its unknown constant, u, and log10(1 - β₂): (cells, 3) for each hypothesis."""
        lr, eps = (np.log10([cell[axis] or 1.0 for cell in cells]) for axis in (0, 1))
        beta2 = np.array([0.0 if not cell[2] else math.log10(1 - cell[2]) for cell in cells])
        return [
            np.column_stack([lr - np.interp(eps, self._grid, shift), np.interp(eps, self._grid, damping), beta2])
            for shift, damping in self._tables
        ]


def _means(grid: Floats, z: Floats, share: Floats, root: float) -> tuple[Floats, Floats]:
    """The mean decades by which ε reduces an update, and `damping`, at every ε of the grid; all in log10.

    Not `lr_shift`, which keeps the root mean square of the updates: the model was chosen and judged with this mean.
    """
    ratio = np.clip(grid[:, None] - z, -30, 30)
    return root * (np.log1p(10**ratio) / math.log(10)) @ share, (1 / (1 + 10**-ratio)) @ share
