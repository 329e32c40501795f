"""What a study trained, for the line at the head of its report."""

from __future__ import annotations

from datetime import date

from epsearch.records.base import Record


class Setup(Record):
    """The model and the data by name (or the user's own code), epochs of one seed, seeds, and the last trial's day.

    `epochs` is None if the user's code sets them, `day` if no trial has ended.
    """

    model: str
    data: str | None = None
    epochs: int | None = None
    seeds: int = 1
    day: date | None = None
