"""Studies constructed so that the answer is known: 60 cases, each drawn with any seed.

A value is `best - profile(ε) - slope(δ)` plus noise, δ the distance of lr from the ridge in decades. The real ridge
deviates from the probe's by a tilt, as real ones do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Trial
from tests.report import sample

WIDE = tuple(10.0**k for k in range(-9, 2))
EPS = tuple(10.0**k for k in range(-7, 0))
DIFFERENCE = {"accuracy": 0.04, "loss": 0.03}
BEST = {"accuracy": 0.9, "loss": 0.3}
RIDGE = -2.5
"""log10 of the best lr where ε is small."""


@cache
def probe() -> ProbeResult:
    """ẑ around 1e-4: damping rises from 1 % at 1e-6 to 99 % at 1e-2."""
    return sample.probe()


@cache
def damping(eps: float) -> float:
    return probe().damping(eps)


@cache
def shift(eps: float) -> float:
    return probe().lr_shift(eps)


PROFILES: dict[str, Callable[[float], float]] = {
    # How much of the difference an ε loses, by its damping u.
    "adaptable": lambda u: min(1.0, (u / 0.9) ** 2),
    "immutable": lambda u: min(1.0, ((1 - u) / 0.9) ** 2),
    "partial": lambda u: min(1.0, (2 * u - 1) ** 2),
    "indifferent": lambda u: 0.0,
}


@dataclass(frozen=True)
class Case:
    """A kind of truth, and how it is studied. `noise` is that of one seed, as a share of the difference."""

    kind: str
    noise: float
    seeds: int = 3
    metric: str = "accuracy"
    sampler: str = "grid"
    step: float = 0.5
    eps: tuple[float, ...] = EPS
    lr: tuple[float, float] = (-4.5, 1.5)
    beta2: tuple[float, ...] = (0.999,)
    diverged: float = math.inf
    images: int | None = None
    tilt: float = 0.05
    probed: bool = True

    @property
    def name(self) -> str:
        parts = [self.kind, f"noise {self.noise:g}", f"{self.seeds} seeds", self.metric, self.sampler, f"{self.step:g}"]
        parts += (
            [f"lr to {self.lr[1]:g}"] * (self.lr[1] < 0) + [f"{len(self.eps)} eps"] + ["beta2"] * (len(self.beta2) > 1)
        )
        parts += ["diverged"] * (self.diverged < math.inf) + [f"{self.images} images"] * (self.images is not None)
        return ", ".join(parts + ["no probe"] * (not self.probed))

    @property
    def at_edge(self) -> bool:
        """Whether the lr searched ends below the ridge at the largest ε."""
        return self.lr[1] < RIDGE + shift(self.eps[-1])

    @property
    def to_be_named(self) -> bool:
        """The difference is at least 4 times the noise of a seed, and the searched lr reach the ridge.

        Where ε makes no difference, what counts is that of half a decade of lr, 0.4 times as large.
        """
        return self.noise <= (0.1 if self.kind == "indifferent" else 0.25) and not self.at_edge

    @property
    def hidden(self) -> bool:
        """The noise of a seed is as large as the difference, or larger."""
        return self.noise >= 1

    def shortfall(self, eps: float) -> float:
        """What an ε loses at its best lr."""
        return DIFFERENCE[self.metric] * PROFILES[self.kind](damping(eps))

    def value(self, lr: float, eps: float, beta2: float) -> float:
        """Without noise; NaN for a cell that diverges."""
        delta = math.log10(lr) - RIDGE - shift(eps) - self.tilt * (math.log10(eps) + 4)
        if delta > self.diverged:
            return math.nan
        slope = DIFFERENCE[self.metric] * 3 * (math.sqrt(1 + delta**2) - 1) * (1.5 if delta > 0 else 1.0)
        lost = self.shortfall(eps) + slope * (3 if delta > 1 else 1)
        # Where ε is small, v must average over an epoch.
        lost += DIFFERENCE[self.metric] * (beta2 < 0.95) * (1 - damping(eps)) * 0.5
        return BEST[self.metric] - lost if self.metric == "accuracy" else BEST[self.metric] + lost

    def cells(self, rng: np.random.Generator) -> list[tuple[float, float, float]]:
        low, high = self.lr
        if self.sampler == "grid":
            lrs = [10**x for x in np.arange(low, high + 1e-9, self.step)]
            return list(itertools.product(lrs, self.eps, self.beta2))
        ends = math.log10(self.eps[0]), math.log10(self.eps[-1])
        drawn = []
        for number in range(100):
            eps = 10 ** rng.uniform(*ends)
            lr = 10 ** rng.uniform(low, high)
            if self.sampler == "tpe" and number >= 30:
                # Near the best so far: of a third, by their true value.
                good = sorted(drawn, key=lambda cell: -self.rank(*cell))[:5]
                lr, eps, _ = good[rng.integers(len(good))]
                lr = 10 ** np.clip(math.log10(lr) + 0.4 * rng.normal(), low, high)
                eps = 10 ** np.clip(math.log10(eps) + 0.8 * rng.normal(), *ends)
            if self.sampler == "guided":
                if number >= 60:
                    break
                eps = self.eps[rng.integers(len(self.eps))]
                lr = 10 ** (round(2 * np.clip(RIDGE + shift(eps) + 0.5 * rng.normal(), low, high)) / 2)
            drawn.append((lr, eps, self.beta2[rng.integers(len(self.beta2))]))
        return list(dict.fromkeys(drawn))

    def rank(self, *cell: float) -> float:
        value = self.value(*cell)
        return -math.inf if math.isnan(value) else value if self.metric == "accuracy" else -value

    def draw(self, seed: int) -> Outcome:
        """A study of this case."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        trials: list[Trial] = []
        for number, (lr, eps, beta2) in enumerate(self.cells(rng)):
            mean = self.value(lr, eps, beta2)
            cell = {"lr": float(lr), "eps": float(eps), "beta2": beta2, "seconds": 60.0}
            if math.isnan(mean):
                trials.append(sample.trial(number, state="failed", fail_reason="diverged", **cell))
                continue
            # Bad trainings vary more than good ones.
            lost = abs(mean - BEST[self.metric]) / DIFFERENCE[self.metric]
            sigma = self.noise * DIFFERENCE[self.metric] * (1 + 0.5 * max(0.0, lost - 1))
            seeds = [float(x) for x in mean + sigma * rng.normal(size=self.seeds)]
            if self.images is not None:
                seeds = [rng.binomial(self.images, min(max(x, 0.0), 1.0)) / self.images for x in seeds]
            spread = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
            trials.append(sample.trial(number, float(np.mean(seeds)), seed_values=seeds, spread=spread, **cell))
        return sample.outcome(
            Path("runs/constructed"),
            trials=trials,
            probe=probe() if self.probed else None,
            history=None,
            metric=self.metric,
            goal="maximize" if self.metric == "accuracy" else "minimize",
            sampler="grid" if self.sampler == "grid" else "tpe",
            planned=len(trials),
        )


def _cases() -> list[Case]:
    kinds = list(PROFILES)
    cases = [Case(kind, noise) for kind in kinds for noise in (0.0, 0.25, 1.0, 2.0)]  # 16
    cases += [Case(kind, noise, seeds=1, metric="loss") for kind in kinds for noise in (0.1, 0.25, 1.0)]  # 12
    cases += [Case(kind, 0.25, seeds=5, step=1.0, diverged=0.6) for kind in kinds]  # 4
    cases += [Case(kind, 0.1, seeds=2, step=1.0, metric="loss", beta2=(0.9, 0.99, 0.999)) for kind in kinds]  # 4
    cases += [Case(kind, 0.2, seeds=2, sampler="random") for kind in kinds]  # 4
    cases += [Case(kind, 0.1, seeds=1, sampler="tpe", metric="loss") for kind in kinds]  # 4
    cases += [Case(kind, 0.25, seeds=2, sampler="guided") for kind in kinds]  # 4
    cases += [Case(kind, 0.25, seeds=3, lr=(-4.5, -1.5)) for kind in kinds]  # 4
    cases += [Case(kind, 0.0, seeds=1, images=2000, diverged=0.8) for kind in kinds]  # 4
    cases += [
        Case("adaptable", 0.25, seeds=1, eps=WIDE, lr=(-4.5, 3.0)),
        Case("indifferent", 0.25, seeds=1, eps=WIDE, lr=(-4.5, 3.0)),
    ]
    cases += [
        Case("immutable", 0.25, eps=WIDE, lr=(-4.5, 3.0), probed=False),
        Case("partial", 0.25, eps=WIDE, lr=(-4.5, 3.0), probed=False),
    ]
    return cases


CASES = _cases()
assert len(CASES) == 60, len(CASES)
