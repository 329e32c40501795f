"""A search for lr that went beyond its box, because its best lr was at an edge."""

from __future__ import annotations

from epsearch.records.base import Count, Positive, Record


class Widening(Record):
    """The best trial, at `lr` and `eps`, had the lowest or highest lr there; `trials` were added, as far as `reach`."""

    lr: Positive
    eps: Positive
    reach: Positive
    trials: Count

    @property
    def edge(self) -> str:
        """Whether the best lr was the `highest` or the `lowest`."""
        return "highest" if self.reach > self.lr else "lowest"
