"""Progress callbacks of a running study, for the terminal or nobody."""

from __future__ import annotations

from typing import NamedTuple

from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Cell, Ending
from epsearch.records.widening import Widening


class Best(NamedTuple):
    """The best value of the searched optimizer so far, and its cell."""

    value: float
    cell: Cell


class Listener:
    """Ignores every event; subclasses override what they show. Called in the driver only."""

    def stage(self, text: str) -> None:
        """A stage started, or reports something in one line."""

    def working(self, text: str, steps: int | None = None) -> None:
        """A stage that trains before the trials started, for so many steps if known, until `probed` or `lr_tested`."""
        self.stage(text)

    def stepped(self, steps: int) -> None:
        """That training has taken `steps` steps; some engines cannot tell."""

    def downloading(self, file: str, done: int, total: int | None) -> None:
        """`done` bytes of a dataset file are downloaded, of `total` if the server sent it."""

    def probed(self, result: ProbeResult, *, reused: bool) -> None:
        """The range of ε is known."""

    def lr_tested(self, test: LrTest, *, reused: bool) -> None:
        """The learning-rate test has run; only where lr is auto."""

    def trials_planned(self, total: int, finished: int, best: Best | None) -> None:
        """The number of trials, how many of them finished in earlier runs, and the best of those."""

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """A trial started."""

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """A trial finished an epoch; `epochs` counts those of all its seeds."""

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """A trial ended, with `value` if it has one."""

    def widened(self, widening: Widening) -> None:
        """All trials have ended, and more were planned because the best lr is at an edge."""


SILENT = Listener()
"""Shows nothing."""


class Relay(Listener):
    """Forwards every event to another listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def stage(self, text: str) -> None:
        """Forward it."""
        self._listener.stage(text)

    def working(self, text: str, steps: int | None = None) -> None:
        """Forward it."""
        self._listener.working(text, steps)

    def stepped(self, steps: int) -> None:
        """Forward it."""
        self._listener.stepped(steps)

    def downloading(self, file: str, done: int, total: int | None) -> None:
        """Forward it."""
        self._listener.downloading(file, done, total)

    def probed(self, result: ProbeResult, *, reused: bool) -> None:
        """Forward it."""
        self._listener.probed(result, reused=reused)

    def lr_tested(self, test: LrTest, *, reused: bool) -> None:
        """Forward it."""
        self._listener.lr_tested(test, reused=reused)

    def trials_planned(self, total: int, finished: int, best: Best | None) -> None:
        """Forward it."""
        self._listener.trials_planned(total, finished, best)

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """Forward it."""
        self._listener.trial_started(optimizer, number, cell)

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """Forward it."""
        self._listener.trial_reported(optimizer, number, epochs, value)

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """Forward it."""
        self._listener.trial_ended(optimizer, number, cell, ending, value)

    def widened(self, widening: Widening) -> None:
        """Forward it."""
        self._listener.widened(widening)
