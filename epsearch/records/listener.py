"""What a running study tells whoever listens: the terminal, or nobody."""

from __future__ import annotations

from typing import NamedTuple

from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Cell, Ending


class Best(NamedTuple):
    """The best value of the searched optimizer so far, and where."""

    value: float
    cell: Cell


class Listener:
    """Hears nothing; the terminal overrides what it shows. Called by the driving process only."""

    def stage(self, text: str) -> None:
        """A stage begins, or has something to say in one line."""

    def downloading(self, file: str, done: int, total: int | None) -> None:
        """Of a file of the dataset so many bytes are there, of a total that the server may not tell."""

    def probed(self, result: ProbeResult, *, reused: bool) -> None:
        """The range of ε is known."""

    def trials_planned(self, total: int, settled: int, best: Best | None) -> None:
        """So many trials in all, of which so many finished in earlier runs, and the best of these."""

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """A trial was given to a worker."""

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """A trial has finished an epoch (counted over its seeds)."""

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """A trial is over; `value` is its value if it has one."""


SILENT = Listener()
"""Shows nothing."""


class Relay(Listener):
    """Passes on to another listener what it hears."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def stage(self, text: str) -> None:
        """Pass it on."""
        self._listener.stage(text)

    def downloading(self, file: str, done: int, total: int | None) -> None:
        """Pass it on."""
        self._listener.downloading(file, done, total)

    def probed(self, result: ProbeResult, *, reused: bool) -> None:
        """Pass it on."""
        self._listener.probed(result, reused=reused)

    def trials_planned(self, total: int, settled: int, best: Best | None) -> None:
        """Pass it on."""
        self._listener.trials_planned(total, settled, best)

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """Pass it on."""
        self._listener.trial_started(optimizer, number, cell)

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """Pass it on."""
        self._listener.trial_reported(optimizer, number, epochs, value)

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """Pass it on."""
        self._listener.trial_ended(optimizer, number, cell, ending, value)
