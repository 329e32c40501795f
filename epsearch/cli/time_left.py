"""An estimate of the time left, from the durations of finished trials."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

RECENT = 100
"""Number of trials averaged: with few, the mean jumps between pruned and complete trials."""


class _Span(NamedTuple):
    began: float
    ended: float


class TimeLeft:
    """Estimates the time left; all times are seconds of one clock."""

    def __init__(self) -> None:
        self._running: dict[Hashable, float] = {}
        self._first: list[_Span] = []
        """Trials that started before any had finished: each worker's first, slowed by loading data and warming up."""
        self._others: deque[_Span] = deque(maxlen=RECENT)
        self._first_end: float | None = None

    def started(self, trial: Hashable, now: float) -> None:
        """A worker started this trial."""
        self._running[trial] = now

    def finished(self, trial: Hashable, now: float) -> None:
        """The trial ended, in whatever state."""
        if self._first_end is None:
            self._first_end = now
        span = _Span(self._running.pop(trial, now), now)
        (self._first if span.began < self._first_end else self._others).append(span)

    def seconds(self, waiting: int, now: float) -> float | None:
        """Seconds until the running trials and `waiting` more have ended; None before any has."""
        enough = self._others and len(self._others) >= len(self._first)
        recent = self._others if enough else [*self._first, *self._others]
        if not recent:
            return None
        took = [span.ended - span.began for span in recent]
        each = statistics.fmean(took)
        # Running trials that already took longer than the mean count too; otherwise short trials would bias it.
        each = statistics.fmean([*took, *(now - began for began in self._running.values() if now - began > each)])
        # How many trials ran at the same time, on average, since the first of these started.
        since = min(span.began for span in recent)
        running = (_Span(began, now) for began in self._running.values())
        spans = [*self._first, *self._others, *running]
        busy = sum(max(0.0, span.ended - max(span.began, since)) for span in spans)
        at_once = max(1.0, busy / (now - since)) if now > since else 1.0
        rest = [max(0.0, each - (now - began)) for began in self._running.values()]
        return max([(waiting * each + sum(rest)) / at_once, *rest])
