"""What is kept of a trial under way, so that it goes on where a killed process or a lost machine left it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

from epsearch.records import ProbeHistory


class TrialCheckpoint:
    """One trial over its seeds: the values reported so far, and in `path` the state after one of its epochs.

    The state is a dict that `torch.save` can write; it is written at least `every` seconds after the one before it,
    or after the start, and never where `path` or `every` is None. What `path` holds already is `kept`: the epoch that
    an earlier process got to.
    """

    def __init__(
        self, path: Path | None = None, every: float | None = None, device: torch.device | None = None
    ) -> None:
        self._path = path if every is not None else None
        self._every = every or 0.0
        self.values: list[list[float]] = []
        """The metric after each epoch so far, a list for each seed."""
        self.history: ProbeHistory | None = None
        """The first seed's, once it is over."""
        self.kept: dict[str, Any] | None = None
        if self._path is not None and self._path.exists():
            # A pickle, as what a user hands over may be anything; it was written here, by code that is run anyway.
            self.kept = torch.load(self._path, map_location=device, weights_only=False)
        self._saved = time.monotonic()

    @property
    def kept_values(self) -> list[list[float]]:
        """The values up to where the kept state was made."""
        return self.kept["values"] if self.kept else []

    @property
    def kept_history(self) -> ProbeHistory | None:
        """ẑ of the first seed up to where the kept state was made, where it is recorded."""
        return self.kept["history"] if self.kept else None

    def take(self) -> dict[str, Any] | None:
        """The kept state, once, for the seed that it belongs to: the last one with values."""
        if self.kept is None or len(self.values) != len(self.kept["values"]):
            return None
        kept, self.kept = self.kept, None
        return kept

    def save(self, state: dict[str, Any]) -> None:
        """Keep `state`, which has the `history` of its seed, if it is time.

        A disk that is full costs the checkpoint, not the trial.
        """
        if self._path is None or time.monotonic() - self._saved < self._every:
            return
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(exist_ok=True)
            torch.save({**state, "values": self.values, "history": self.history or state["history"]}, temporary)
            temporary.replace(self._path)
        except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError of a full disk
            print(f"no checkpoint could be written to {self._path}: {error}")
        finally:
            temporary.unlink(missing_ok=True)
        self._saved = time.monotonic()
