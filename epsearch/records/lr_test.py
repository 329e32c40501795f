"""A learning-rate test: the loss while lr rises exponentially over a few steps of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, FiniteFloat, model_validator

from epsearch.records.base import Positive, Record

if TYPE_CHECKING:
    import plotly.graph_objects as go

STEPS = 100
"""Steps of a test."""


class LrTest(Record):
    """The curve of a learning-rate test, and the lr that it suggests at `eps`.

    `lrs[i]` is the lr of step i, `losses[i]` the loss of its batch before that step. `suggestion` is None if the curve
    does not show where training works; `reason` says why, or how the suggestion was read from the curve. `low` and
    `high` are the bounds in which the best lr at `eps` is to be searched.
    """

    remedy: ClassVar[str] = "Delete it to test again."

    optimizer: str
    eps: Positive | None
    lrs: Annotated[list[Positive], Field(min_length=1)]
    losses: list[FiniteFloat]
    suggestion: Positive | None
    low: Positive
    high: Positive
    reason: str
    settings: dict[str, FiniteFloat | int | str | None] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.lrs) != len(self.losses):
            raise ValueError(f"it has {len(self.lrs)} lrs and {len(self.losses)} losses")
        if not self.low <= (self.suggestion or self.low) <= self.high:
            raise ValueError("low, suggestion and high must ascend")
        return self

    def plot(self) -> go.Figure:
        """The loss and the smoothed loss over lr, with the suggestion and its bounds."""
        from epsearch.report.figures.lr_test import lr_test_info, plot_lr_test

        return plot_lr_test(lr_test_info(self))
