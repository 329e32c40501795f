"""What the callbacks share: a trainer's metrics of an epoch, told to the run of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from epsearch.core.errors import UserError

if TYPE_CHECKING:
    from epsearch.training.run import Run

HELD_OUT = ("val_", "val/", "valid_", "valid/", "validation_", "validation/", "eval_", "eval/")
"""What trainers put before the name of a metric on held-out data."""


class Reporting:
    """A callback's `run`; the subclass calls `tell` at the end of every epoch.

    The study's metric is the trainer's `metric`, by its whole name. Unless given it is the one called as in the study,
    on held-out data if there is such: for accuracy `val_accuracy` or `eval_accuracy`, else `accuracy`. A loss beside
    it is told too, so that a training whose loss is no longer finite ends.
    """

    def __init__(self, run: Run, metric: str | None = None) -> None:
        super().__init__()
        self._run, self._metric = run, metric

    def tell(self, metrics: Mapping[str, Any]) -> bool:
        """Report an epoch; the answer is whether the training is to go on.

        Raises:
            UserError: the study's metric is not among `metrics`.
        """
        name = self._run.metric
        key = self._metric or _find(name, metrics)
        if key is None or key not in metrics:
            given = ", ".join(metrics) or "nothing"
            wanted = self._metric or f"{name}, val_{name} or eval_{name}"
            raise UserError(
                f"the trainer's metrics of an epoch have no {wanted}, only {given}. "
                f'RunReporter(run, "…") names the one that is the study\'s {name}.'
            )
        loss = _find("loss", metrics)
        values: dict[str, Any] = {} if loss is None else {"loss": float(metrics[loss])}
        self._run.report(**{**values, name: float(metrics[key])})
        return not self._run.ended


def _find(name: str, metrics: Mapping[str, Any]) -> str | None:
    """The trainer's name for a metric: its value on held-out data, if there is one."""
    return next((key for key in (*(prefix + name for prefix in HELD_OUT), name) if key in metrics), None)
