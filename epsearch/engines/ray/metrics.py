"""A study's progress as Ray metrics, which every node serves to Prometheus with the prefix `ray_`."""

from __future__ import annotations

from collections import Counter

from ray.util import metrics

from epsearch.records.listener import Listener, Relay
from epsearch.records.trial import Cell, Ending
from epsearch.study.config import StudyConfig


class Metered(Relay):
    """Counts trials and epochs, and passes every event on to `listener`.

    - `epsearch_trials{study, state}`: trials of this run by state (running, finished, pruned, diverged, raised,
      died); trials finished by earlier runs (earlier); trials not yet started (left).
    - `epsearch_epochs_total{study}`: epochs trained; epochs per second are its `rate()`.
    - `epsearch_best_value{study, optimizer}`: the best value of this run's trials.
    """

    def __init__(self, listener: Listener, config: StudyConfig, earlier: int, left: int) -> None:
        super().__init__(listener)
        self._sign = 1 if config.goal == "maximize" else -1
        self._states = Counter(earlier=earlier, left=left, running=0)
        self._best: dict[str, float] = {}
        tags = {"study": config.name}
        self._trials = metrics.Gauge("epsearch_trials", "Trials by state.", ("study", "state"))
        self._epochs = metrics.Counter("epsearch_epochs", "Epochs trained.", ("study",))
        self._best_value = metrics.Gauge(
            "epsearch_best_value", f"Best {config.metric.name} so far.", ("study", "optimizer")
        )
        for metric in (self._trials, self._epochs, self._best_value):
            metric.set_default_tags(tags)
        self._emit()

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """Move a trial from left to running."""
        super().trial_started(optimizer, number, cell)
        self._states["left"] -= 1
        self._states["running"] += 1
        self._emit()

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """Count an epoch. Re-emit gauges: Ray may drop updates."""
        super().trial_reported(optimizer, number, epochs, value)
        self._epochs.inc()
        self._emit()

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """Move a trial from running to its ending."""
        super().trial_ended(optimizer, number, cell, ending, value)
        self._states["running"] -= 1
        self._states[ending.kind] += 1
        if value is not None:
            self._best[optimizer] = max(self._best.get(optimizer, value), value, key=lambda x: self._sign * x)
        self._emit()

    def _emit(self) -> None:
        for state, count in self._states.items():
            self._trials.set(count, {"state": state})
        for optimizer, best in self._best.items():
            self._best_value.set(best, {"optimizer": optimizer})
