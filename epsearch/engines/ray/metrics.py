"""A study as metrics of Ray, which every node of a cluster serves to Prometheus, with `ray_` before their names."""

from __future__ import annotations

from collections import Counter

from ray.util import metrics

from epsearch.records.listener import Listener, Relay
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig


class Metered(Relay):
    """Passes on to `listener` what it hears of the trials, and keeps count of it.

    - `epsearch_trials{study, state}`: trials of this run that are running or ended so (finished, pruned, diverged,
      raised, died); those that earlier runs settled (settled); those still to come (left).
    - `epsearch_epochs_total{study}`: epochs trained; epochs per second are its `rate()`.
    - `epsearch_best_value{study, optimizer}`: the best value of this run's trials.
    """

    def __init__(self, listener: Listener, config: StudyConfig, settled: int, left: int) -> None:
        super().__init__(listener)
        self._sign = 1 if config.goal == "maximize" else -1
        self._states = Counter(settled=settled, left=left, running=0)
        self._best: dict[str, float] = {}
        tags = {"study": config.name}
        self._trials = metrics.Gauge("epsearch_trials", "Trials by state.", ("study", "state"))
        self._epochs = metrics.Counter("epsearch_epochs", "Epochs trained.", ("study",))
        self._best_value = metrics.Gauge(
            "epsearch_best_value", f"Best {config.metric.name} so far.", ("study", "optimizer")
        )
        for metric in (self._trials, self._epochs, self._best_value):
            metric.set_default_tags(tags)
        self._show()

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """From those left to those running."""
        super().trial_started(optimizer, number, cell)
        self._states["left"] -= 1
        self._states["running"] += 1
        self._show()

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """One epoch more. The rest is told anew: what Ray lost on the way stands there until the next telling."""
        super().trial_reported(optimizer, number, epochs, value)
        self._epochs.inc()
        self._show()

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """From those running to those that ended so."""
        super().trial_ended(optimizer, number, cell, ending, value)
        self._states["running"] -= 1
        self._states[ending.kind] += 1
        if value is not None:
            self._best[optimizer] = max(self._best.get(optimizer, value), value, key=lambda x: self._sign * x)
        self._show()

    def _show(self) -> None:
        for state, count in self._states.items():
            self._trials.set(count, {"state": state})
        for optimizer, best in self._best.items():
            self._best_value.set(best, {"optimizer": optimizer})
