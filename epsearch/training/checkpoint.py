"""What is kept of a trial under way, so that it goes on where a killed process or a lost machine left it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import torch

from epsearch.core.files import write_atomically
from epsearch.records.probe import ProbeHistory
from epsearch.training.faults import ends_process
from epsearch.training.log import log, quoted

_KEYS = {"state", "first_epoch", "reports", "history", "random", "values"}
"""Of a checkpoint: the state handed over, and where its trial was."""


class TrialCheckpoint:
    """One trial over its seeds: the values reported so far, and in `path` the state after one of its epochs.

    The state is a dict that `torch.save` can write; it is written at least `every` seconds after the one before it,
    or after the start, and never where `path` or `every` is None. What `path` holds already is `kept`: the epoch that
    an earlier process got to. A file that cannot be read is deleted, and the trial starts from its beginning.
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
        if self._path is not None:
            # Of a process that was killed while it wrote.
            with contextlib.suppress(OSError):
                for left in self._path.parent.glob(f".{self._path.name}.*.tmp"):
                    left.unlink(missing_ok=True)
            self._load(self._path, device)
        self._saved = time.monotonic()

    @property
    def kept_values(self) -> list[list[float]]:
        """The values up to where the kept state was made."""
        return self.kept["values"] if self.kept else []

    @property
    def kept_history(self) -> ProbeHistory | None:
        """ẑ of the first seed up to where the kept state was made, where it is recorded."""
        return self.kept["history"] if self.kept else None

    def peek(self) -> dict[str, Any] | None:
        """What is kept, where the seed at hand is the one that it belongs to: the last one with values."""
        if self.kept is None or len(self.values) != len(self.kept["values"]):
            return None
        return self.kept

    def take(self) -> dict[str, Any] | None:
        """The same, once."""
        if (kept := self.peek()) is not None:
            self.kept = None
        return kept

    def discard(self, reason: str) -> None:
        """Delete what is kept, which is of no use: training starts from its beginning."""
        log(f"the checkpoint {self._path} is deleted, and training starts from its beginning: {reason}")
        self.kept = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Keep `state`, which has the `history` of its seed, if it is time.

        A disk that is full costs the checkpoint, not the trial.
        """
        if self._path is None or time.monotonic() - self._saved < self._every:
            return
        kept = {**state, "values": self.values, "history": self.history or state["history"]}
        try:
            self._path.parent.mkdir(exist_ok=True)
            write_atomically(self._path, lambda file: torch.save(kept, file))
        except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError of a full disk
            if ends_process(error) is not None:
                raise
            log(f"no checkpoint could be written to {self._path}: {quoted(error)}")
        self._saved = time.monotonic()

    def _load(self, path: Path, device: torch.device | None) -> None:
        try:
            # A pickle, as what a user hands over may be anything; it was written here, by code that is run anyway.
            kept = torch.load(path, map_location=device, weights_only=False)
        except FileNotFoundError:
            return
        except Exception as error:
            if ends_process(error) is not None:
                raise
            # Empty, cut off, not a pickle; or a class that is in it was renamed since.
            self.discard(quoted(error))
            return
        if _is_whole(kept):
            self.kept = kept
        else:
            self.discard("it is not one that this version of epsearch wrote")


def _is_whole(kept: object) -> bool:
    return (
        isinstance(kept, dict)
        and kept.keys() == _KEYS
        and isinstance(kept["state"], dict)
        and isinstance(values := kept["values"], list)
        and bool(values)
        and all(isinstance(of_a_seed, list) for of_a_seed in values)
    )
