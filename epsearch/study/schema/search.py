"""The `probe` and `search` sections of a study file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self, get_args

from pydantic import Field, FiniteFloat, model_validator

from epsearch.records.probe import RangeKind
from epsearch.registry.optimizers import BASELINES
from epsearch.study.schema.base import Beta2Bounds, Bounds, Count, Positive, Section, axis_of, one_of, wrong


class ProbeSection(Section):
    """The pre-search stage: train briefly, measure ẑ, take its percentiles."""

    epochs: Count = 1
    """Epochs to train before measuring ẑ."""
    lr: Positive = 1e-3
    """Learning rate of the probe."""
    eps: Positive | None = None
    """ε of the probe. Default: the optimizer's own, 1e-8 for Adam."""
    percentiles: Annotated[list[Annotated[FiniteFloat, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)] = [
        2,
        98,
    ]
    """Lower and upper percentile of ẑ, which give the range of ε."""
    range: one_of("range", get_args(RangeKind)) = "pooled"  # type: ignore[valid-type]
    """pooled (the percentiles of all elements together, and one power of ten below) or paper (the smallest and largest
    percentile over tensors, Algorithm 2)."""
    exclude: list[Annotated[str, Field(min_length=1)]] = []
    """Tensors not to measure, by name or pattern, such as "*.bias"."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.percentiles[0] >= self.percentiles[1]:
            low, high = self.percentiles
            raise wrong(f"must be ascending, e.g. [2, 98], not [{low:g}, {high:g}].", ("percentiles",))
        return self


class SearchSection(Section):
    """The axes of the search."""

    eps: axis_of(Positive, Bounds, "grid", "endpoints", "continuous") = "grid"  # type: ignore[valid-type]
    """grid (the powers of ten in the probed range), endpoints (its two ends) or continuous (log-uniform between
    them). A number, a list or {low, high} needs no probe."""
    lr: axis_of(Positive, Bounds, "auto") = Bounds(low=1e-4, high=1e-1)  # type: ignore[valid-type]
    """auto (around the ridge of the best lr, which the probe and a learning-rate test of 100 steps find), a number, a
    list, or {low, high}: powers of ten for a grid, log-uniform for a sampler."""
    beta2: axis_of(Annotated[FiniteFloat, Field(gt=0, lt=1)], Beta2Bounds, "auto") = "auto"  # type: ignore[valid-type]
    """auto (the smallest 1 - 10**-k that averages over an epoch, Section 4.2), a number, a list, or {low, high} in
    powers of ten of 1 - beta2. Ignored if the optimizer has no β₂."""
    baselines: list[one_of("baseline", BASELINES)] = []  # type: ignore[valid-type]
    """Non-adaptive optimizers to compare with (Fig. 5)."""
    sgd_lr: axis_of(Positive, Bounds) = Bounds(low=1e-3, high=10.0)  # type: ignore[valid-type]
    """Learning rates of the baselines. They compare with α/ε of Adam at large ε, so they are larger than lr."""

    @property
    def needs_probe(self) -> bool:
        """Whether the probe finds the range of ε."""
        return isinstance(self.eps, str)


def check_decades(bounds: Bounds, points: Callable[[float, float], object], example: str, key: str) -> None:
    """Raise an error if the ends of a grid are not among its points."""
    try:
        points(bounds.low, bounds.high)
    except ValueError:
        raise wrong(
            f"the ends of a grid must be {example}, not {bounds.low:g} and {bounds.high:g}; or give a list.",
            ("search", key),
        ) from None
