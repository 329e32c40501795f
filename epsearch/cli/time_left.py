"""How long the trials that are left will take, from those that ended."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

RECENT = 100
"""So many ended trials count: a mean over few would jump between trials that were pruned and those that were not."""


class _Span(NamedTuple):
    began: float
    ended: float


class TimeLeft:
    """Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, float] = {}
        self._first: list[_Span] = []
        """Trials that began before any had ended: the first of each worker, which loads the data and warms up."""
        self._others: deque[_Span] = deque(maxlen=RECENT)
        self._first_end: float | None = None

    def started(self, trial: Hashable, now: float) -> None:
        """A worker that is ready was given this trial."""
        self._under_way[trial] = now

    def finished(self, trial: Hashable, now: float) -> None:
        """It is over, however it ended."""
        if self._first_end is None:
            self._first_end = now
        span = _Span(self._under_way.pop(trial, now), now)
        (self._first if span.began < self._first_end else self._others).append(span)

    def seconds(self, waiting: int, now: float) -> float | None:
        """Until those under way and so many more have ended; None before any has."""
        enough = self._others and len(self._others) >= len(self._first)
        recent = self._others if enough else [*self._first, *self._others]
        if not recent:
            return None
        took = [span.ended - span.began for span in recent]
        each = statistics.fmean(took)
        # Those that take longer than the mean have not ended yet, while shorter ones have: they count already.
        each = statistics.fmean([*took, *(now - began for began in self._under_way.values() if now - began > each)])
        # Of the time since these began, what was spent on trials side by side.
        since = min(span.began for span in recent)
        under_way = (_Span(began, now) for began in self._under_way.values())
        spans = [*self._first, *self._others, *under_way]
        busy = sum(max(0.0, span.ended - max(span.began, since)) for span in spans)
        at_once = max(1.0, busy / (now - since)) if now > since else 1.0
        rest = [max(0.0, each - (now - began)) for began in self._under_way.values()]
        return max([(waiting * each + sum(rest)) / at_once, *rest])
