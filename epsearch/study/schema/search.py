"""The `probe` and `search` sections of a study file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import Field, FiniteFloat, model_validator

from epsearch.registry.optimizers import BASELINES
from epsearch.study.schema.base import Beta2Bounds, Bounds, Count, Positive, Section, axis_of, one_of, wrong


class ProbeSection(Section):
    """The pre-search stage: train briefly, read ẑ, take its percentiles (Algorithm 2)."""

    epochs: Count = 1
    """Epochs to train before reading ẑ."""
    lr: Positive = 1e-3
    """Learning rate while probing."""
    eps: Positive | None = None
    """ε while probing; the optimizer's own default (1e-8 for Adam) unless given."""
    percentiles: Annotated[list[Annotated[FiniteFloat, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)] = [
        2,
        98,
    ]
    """Lower and upper percentile of each tensor's ẑ."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.percentiles[0] >= self.percentiles[1]:
            low, high = self.percentiles
            raise wrong(f"must ascend, e.g. [2, 98], not [{low:g}, {high:g}].", ("percentiles",))
        return self


class SearchSection(Section):
    """The axes of the search."""

    eps: axis_of(Positive, Bounds, "grid", "endpoints", "continuous") = "grid"  # type: ignore[valid-type]
    """grid (the powers of ten of the probed range), endpoints (its two ends), continuous (log-uniform
    between them); or a number, a list or {low, high}, which need no probe."""
    lr: axis_of(Positive, Bounds) = Bounds(low=1e-4, high=1e-1)  # type: ignore[valid-type]
    """{low, high} (powers of ten for a grid, log-uniform for a sampler), a number or a list."""
    beta2: axis_of(Annotated[FiniteFloat, Field(gt=0, lt=1)], Beta2Bounds, "auto") = "auto"  # type: ignore[valid-type]
    """auto (Section 4.2: the smallest 1 - 10**-k that averages over an epoch), a number, a list, or {low, high}
    in powers of ten of 1 - beta2. Not searched where the optimizer has none."""
    baselines: list[one_of("baseline", BASELINES)] = []  # type: ignore[valid-type]
    """Non-adaptive arms to compare with (Fig. 5)."""
    sgd_lr: axis_of(Positive, Bounds) = Bounds(low=1e-3, high=10.0)  # type: ignore[valid-type]
    """Learning rates of the baselines: α/ε of an immutable Adam, so larger than its α."""

    @property
    def needs_probe(self) -> bool:
        """Whether ε is to be found by the probe."""
        return isinstance(self.eps, str)


def check_decades(bounds: Bounds, points: Callable[[float, float], object], example: str, key: str) -> None:
    """An error where the ends of a grid are not its points."""
    try:
        points(bounds.low, bounds.high)
    except ValueError:
        raise wrong(
            f"the ends of a grid must be {example}, not {bounds.low:g} and {bounds.high:g}; or give a list.",
            ("search", key),
        ) from None
