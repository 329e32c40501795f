"""Ctrl-C between two steps of a study, not in the middle of one: no result falls between worker and storage."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Within, SIGINT and SIGTERM wait for the next `point()`; a second one does not wait.

    Only signals that raise in this process are held back, and only in the main thread, where they arrive.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._pending: int | None = None
        self._at_point = False

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
        """A place where nothing is under way: a signal that came before, or comes within, takes effect."""
        self._at_point = True
        try:
            if self._pending is not None:
                self._raise(self._pending)
            yield
        finally:
            self._at_point = False

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._at_point or self._pending is not None:
            self._raise(number, frame)
        self._pending = number

    def _raise(self, number: int, frame: FrameType | None = None) -> None:
        self._pending = None
        self._previous[number](number, frame)
