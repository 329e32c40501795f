"""Delay Ctrl-C until the current step is done, so that no result is lost between worker and storage."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Within, SIGINT and SIGTERM wait for the next `point()`; a second signal takes effect at once.

    Only handlers in Python can be delayed, and only in the main thread, where they run.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._pending: int | None = None
        self._at_point = False
        self.raised: BaseException | None = None
        """What a signal raised, even if the user's code has caught it since."""

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._previous[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._pending is not None:
            self._raise(self._pending)

    @contextmanager
    def point(self) -> Iterator[None]:
        """Within, signals take effect, and one that came before does now: nothing is half done here."""
        self._at_point = True
        try:
            if self._pending is not None:
                self._raise(self._pending)
            yield
        finally:
            self._at_point = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within a point, a stretch that signals do not interrupt: they take effect at its end."""
        before, self._at_point = self._at_point, False
        try:
            yield
        finally:
            self._at_point = before
        if before and self._pending is not None:
            self._raise(self._pending)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._at_point or self._pending is not None:
            self._raise(number, frame)
        self._pending = number

    def _raise(self, number: int, frame: FrameType | None = None) -> None:
        self._pending = None
        try:
            self._previous[number](number, frame)
        except BaseException as error:
            self.raised = error
            raise
