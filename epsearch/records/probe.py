"""Probe results: ẑ of each tensor, as percentiles and histograms."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from epsearch.core.errors import UserError
from epsearch.records.base import Count, Positive, Record
from epsearch.records.damping import harmless, noise_below, share_taken, without
from epsearch.records.epsilon import EpsilonRange, nearest_power_of_ten, power_of_ten
from epsearch.records.histogram import Histogram
from epsearch.records.kinds import Kind, kind_of

if TYPE_CHECKING:
    import plotly.graph_objects as go


RangeKind = Literal["pooled", "paper"]

FEWEST_POINTS = 4
"""Powers of ten in a pooled range, at least: with fewer, the best ε of a network with BatchNorm was missed."""

ROOTS = {"AdaBelief": 0.5, "EAdam": 0.5, "AdaMomentum": 0.5, "LAMB": 0.0}
"""`root` of the optimizers for which it is not 1, for records that older versions wrote without it."""


class Layer(Record):
    """The probe's measurements of one parameter tensor.

    Of `numel` elements, `zeros` are exact zeros and `nonfinite` NaN or infinite; the percentiles exclude both. `p2` and
    `p98` are the lower and upper percentile of z (default: 2nd and 98th, see `ProbeResult.percentiles`), None if no
    element is left. `kind` is what the tensor is for (default: from its name).
    """

    name: str
    kind: Kind = "other"
    numel: Count
    zeros: Count
    nonfinite: Count
    p2: Positive | None
    p98: Positive | None
    histogram: Histogram

    @model_validator(mode="before")
    @classmethod
    def _earlier(cls, data: Any) -> Any:
        if isinstance(data, dict) and "kind" not in data and isinstance(data.get("name"), str):
            return {**data, "kind": kind_of(data["name"])}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.zeros + self.nonfinite > self.numel:
            raise ValueError(
                f"{self.zeros} zeros and {self.nonfinite} nonfinite are more than the {self.numel} elements of numel"
            )
        if self.p2 is not None and self.p98 is not None and self.p2 > self.p98:
            raise ValueError(f"p2, {self.p2:g}, is above p98, {self.p98:g}")
        return self


def paper_range(layers: Iterable[Layer]) -> EpsilonRange:
    """The range of Algorithm 2: the extreme percentiles over tensors, rounded to powers of ten."""
    measured = [layer for layer in layers if layer.p2 is not None and layer.p98 is not None]
    return EpsilonRange(
        lower=nearest_power_of_ten(min(layer.p2 or 0 for layer in measured)),
        upper=nearest_power_of_ten(max(layer.p98 or 0 for layer in measured)),
    )


def pooled_range(histogram: Histogram, percentiles: tuple[float, float]) -> EpsilonRange:
    """The range over which the adaptive fraction of all elements falls, rounded to powers of ten.

    One decade below stands for every smaller ε, where the optimizer fully adapts. At least `FEWEST_POINTS` points.
    """
    low, high = (round(math.log10(nearest_power_of_ten(histogram.percentile(q)))) for q in percentiles)
    return EpsilonRange(lower=power_of_ten(min(low - 1, high - FEWEST_POINTS + 1)), upper=power_of_ten(high))


def _ends_below(layer: Layer, by_kind: Mapping[Kind, Histogram]) -> bool:
    kept = by_kind[layer.kind]
    return not any(kept.counts) or layer.histogram.start + len(layer.histogram.counts) <= kept.start


def _check_eps(eps: float, caller: str) -> None:
    if not 0 < eps < math.inf:
        raise UserError(f"{caller}: eps must be a finite number above 0, not {eps}.")


class ProbeResult(Record):
    """The range of ε and the measurements behind it.

    `range` is `pooled_range` or `paper_range`, as `range_kind` says. An ε far above ẑ divides the update by
    ε ** `root`: 1/2 where ε is inside the square root (AdaBelief, EAdam, AdaMomentum), 0 for LAMB, which rescales the
    update afterwards. `settings` is how the probe trained (lr, eps, epochs …).
    """

    remedy: ClassVar[str] = "Delete it to probe again."

    range: EpsilonRange
    range_kind: RangeKind = "paper"
    optimizer: str
    root: Annotated[FiniteFloat, Field(ge=0)] = 1.0
    percentiles: tuple[float, float]
    layers: Annotated[list[Layer], Field(min_length=1)]
    skipped: list[str] = []
    """Parameters without optimizer state, because they got no gradient."""
    excluded: list[str] = []
    """Parameters that were not measured, because the probe was asked to exclude them."""
    settings: dict[str, FiniteFloat | int | str | None] = {}

    @model_validator(mode="before")
    @classmethod
    def _earlier(cls, data: Any) -> Any:
        if isinstance(data, dict) and "root" not in data and data.get("optimizer") in ROOTS:
            return {**data, "root": ROOTS[data["optimizer"]]}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles are {low:g} and {high:g}; they must ascend, from 0 to 100")
        if not any(layer.histogram.total for layer in self.layers):
            raise ValueError("the histograms of all layers are empty")
        batches = self.settings.get("batches_per_epoch")
        if batches is not None and not (isinstance(batches, int) and batches >= 0):
            raise ValueError("settings.batches_per_epoch must be a whole number, 0 or above")
        return self

    def __str__(self) -> str:
        from epsearch.core.messages import one_line
        from epsearch.core.numbers import count, label

        reach = f"{label('eps', self.range.lower)} to {label('eps', self.range.upper)}"
        return f"range of eps for {one_line(self.optimizer, 60)}: {reach}, read from {count(len(self.layers), 'layer')}"

    @cached_property
    def histogram(self) -> Histogram:
        """All layers pooled."""
        return functools.reduce(Histogram.merge, (layer.histogram for layer in self.layers), Histogram())

    @property
    def eps(self) -> float | None:
        """The ε in use; None if it is unknown or 0."""
        eps = self.settings.get("eps")
        return float(eps) if eps else None

    @cached_property
    def by_kind(self) -> dict[Kind, Histogram]:
        """All layers of each kind pooled, in the order of the layers, without rounding noise (see `damping.APART`)."""
        bulk = self.histogram.percentile(self.percentiles[0])
        pooled: dict[Kind, Histogram] = {}
        for layer in self.layers:
            pooled[layer.kind] = pooled.get(layer.kind, Histogram()).merge(layer.histogram)
        return {kind: without(histogram, noise_below(histogram, bulk)) for kind, histogram in pooled.items()}

    @cached_property
    def noise(self) -> list[str]:
        """The layers that are nothing but rounding noise: their largest ẑ is below the smallest of `by_kind`."""
        return [layer.name for layer in self.layers if layer.histogram.counts and _ends_below(layer, self.by_kind)]

    @property
    def paper_range(self) -> EpsilonRange:
        """The smallest lower and the largest upper percentile over tensors, as powers of ten (Algorithm 2)."""
        return paper_range(self.layers)

    @property
    def pooled_range(self) -> EpsilonRange:
        """Where the adaptive fraction falls from 98 % to 2 % of all measured elements, and a decade below."""
        return pooled_range(self.histogram, self.percentiles)

    def lr_shift(self, eps: float) -> float:
        """Decades by which the best lr at `eps` exceeds that at a small ε, where the optimizer fully adapts.

        It keeps the size of the updates: -log10 of the root mean square over all elements of (ẑ / (ẑ + ε)) ** root, the
        factor by which ε shrinks the update of each.
        """
        _check_eps(eps, "lr_shift")
        return -0.5 * math.log10(self.histogram.mean(lambda z: (z / (z + eps)) ** (2 * self.root)))

    def damping(self, eps: float) -> float:
        """Mean share of ε in the denominator, ε / (ẑ + ε): 0 if nothing is damped, 1 if the optimizer is immutable."""
        _check_eps(eps, "damping")
        return self.histogram.mean(lambda z: eps / (z + eps))

    def damping_by_kind(self, eps: float) -> dict[Kind, float]:
        """Mean share of the update that ε takes in each class of tensors, 0 to 1, rounding noise left out.

        ε / (ẑ + ε), or 1 - √(ẑ / (ẑ + ε)) where ε is inside the root.
        """
        _check_eps(eps, "damping_by_kind")
        return {kind: share_taken(found, eps, self.root) for kind, found in self.by_kind.items() if any(found.counts)}

    def harmless(self, tolerance: float = 0.01) -> float:
        """The largest power of ten that takes at most `tolerance` of the update of every class of tensors."""
        return min(self.harmless_by_kind(tolerance).values())

    def harmless_by_kind(self, tolerance: float = 0.01) -> dict[Kind, float]:
        """The largest power of ten that takes at most `tolerance` of the update of each class of tensors.

        For optimizers with a parameter group for each class.
        """
        if not 0 < tolerance < 1:
            raise UserError(f"harmless: tolerance must be above 0 and below 1, not {tolerance}.")
        return {kind: harmless(each, self.root, tolerance) for kind, each in self.by_kind.items() if any(each.counts)}

    def adaptive_fraction(self, eps: float) -> float:
        """Share of all elements of ẑ above ε (Table 2): 1 is fully adaptable, 0 fully immutable."""
        _check_eps(eps, "adaptive_fraction")
        return self.histogram.above(eps)

    def plot(self) -> go.Figure:
        """Histogram of log10 ẑ per layer and pooled, with dashed lines at the ends of the range.

        An end of the paper's range that is 2 decades or more beyond the pooled one is dotted.
        """
        from epsearch.report.figures.histogram import histogram_info, plot_histogram

        return plot_histogram(histogram_info(self))

    def _repr_html_(self) -> str:
        from epsearch.report.html.notebook import probe_html

        return probe_html(self)


class EpochReading(Record):
    """ẑ of all elements after `epoch` epochs of training (1: after the first), and the range of ε."""

    epoch: Annotated[int, Field(gt=0)]
    range: EpsilonRange
    histogram: Histogram


class ProbeHistory(Record):
    """ẑ of all tensors pooled, for each epoch of a training (Figs. 8, 9, 12, 14 to 17; Table 2).

    `settings` are those of the first reading (lr, eps, beta2 …).
    """

    optimizer: str
    epochs: Annotated[list[EpochReading], Field(min_length=1)]
    settings: dict[str, FiniteFloat | int | str | None] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(after.epoch <= before.epoch for before, after in itertools.pairwise(self.epochs)):
            raise ValueError("the epochs do not ascend")
        eps = self.settings.get("eps")
        if eps is not None and not (isinstance(eps, int | float) and 0 <= eps < math.inf):
            raise ValueError("settings.eps must be a number, 0 or above")
        return self

    def __str__(self) -> str:
        from epsearch.core.messages import one_line
        from epsearch.core.numbers import count, label

        reach = f"{label('eps', self.range.lower)} to {label('eps', self.range.upper)}"
        epochs = count(len(self.epochs), "epoch")
        return f"{epochs} of {one_line(self.optimizer, 60)}, range of eps after the first: {reach}"

    @property
    def range(self) -> EpsilonRange:
        """The useful range of ε after the first recorded epoch."""
        return self.epochs[0].range

    @property
    def eps(self) -> float | None:
        """The ε used in training; None if the optimizer has none or it is 0."""
        eps = self.settings.get("eps")
        return float(eps) if eps else None

    def adaptive_fraction(self, eps: float) -> list[float]:
        """Share of all elements of ẑ above ε after each recorded epoch (Table 2): (epochs,), 0 to 1."""
        _check_eps(eps, "adaptive_fraction")
        return [reading.histogram.above(eps) for reading in self.epochs]

    def plot(self) -> go.Figure:
        """Histograms of log10 ẑ at several epochs, with a dashed line at the ε in use."""
        from epsearch.report.figures.history import history_info, plot_history

        return plot_history(history_info(self))

    def plot_adaptive_fraction(self) -> go.Figure:
        """Share of ẑ above each power of ten, and above the ε in use, over the epochs."""
        from epsearch.report.figures.history import fraction_info, plot_fractions

        return plot_fractions(fraction_info(self))
