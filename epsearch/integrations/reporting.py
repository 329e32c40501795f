"""Shared by the reporting callbacks: pass a trainer's metrics of an epoch to the run of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from epsearch.core.errors import UserError

if TYPE_CHECKING:
    from epsearch.training.run import Run

HELD_OUT = ("val_", "val/", "valid_", "valid/", "validation_", "validation/", "eval_", "eval/")
"""Prefixes that trainers use for metrics on held-out data."""


class Reporting:
    """Reports to `run`; subclasses call `report_epoch` at the end of every epoch.

    `metric` is the trainer's full name for the study's metric. By default it is the study's name with a prefix for
    held-out data, if there is one: for accuracy `val_accuracy` or `eval_accuracy`, else `accuracy`. A loss is reported
    too, so that training ends when it is no longer finite.
    """

    def __init__(self, run: Run, metric: str | None = None) -> None:
        super().__init__()
        self._run, self._metric = run, metric

    def report_epoch(self, metrics: Mapping[str, Any]) -> bool:
        """Report an epoch; return whether to continue training.

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
    """The trainer's name for a metric, preferring held-out data; None if it has none."""
    return next((key for key in (*(prefix + name for prefix in HELD_OUT), name) if key in metrics), None)
