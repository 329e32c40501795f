"""Checkpoints of running trials, to resume after a killed process or a lost machine."""

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
"""Keys of a checkpoint: the state passed to `report`, and the trial's progress."""


class TrialCheckpoint:
    """The values that a trial has reported, seed by seed, and its last saved state in `path`.

    The state is a dict that `torch.save` can write. At least `every` seconds pass between two saves, and before the
    first; nothing is saved if `path` or `every` is None. `kept` is the checkpoint that an earlier process left in
    `path`. An unreadable file is deleted, and the trial starts from the beginning.
    """

    def __init__(
        self, path: Path | None = None, every: float | None = None, device: torch.device | None = None
    ) -> None:
        self._path = path if every is not None else None
        self._every = every or 0.0
        self.values: list[list[float]] = []
        """The metric after each epoch so far, one list per seed."""
        self.history: ProbeHistory | None = None
        """The first seed's history, once that seed is done."""
        self.kept: dict[str, Any] | None = None
        if self._path is not None:
            # Left by a process that was killed while writing.
            with contextlib.suppress(OSError):
                for left in self._path.parent.glob(f".{self._path.name}.*.tmp"):
                    left.unlink(missing_ok=True)
            self._load(self._path, device)
        self._saved = time.monotonic()

    @property
    def kept_values(self) -> list[list[float]]:
        """The values up to the checkpoint."""
        return self.kept["values"] if self.kept else []

    @property
    def kept_history(self) -> ProbeHistory | None:
        """ẑ of the first seed up to the checkpoint; None if it is not recorded."""
        return self.kept["history"] if self.kept else None

    def peek(self) -> dict[str, Any] | None:
        """The checkpoint, if it belongs to the current seed (the last one with values)."""
        if self.kept is None or len(self.values) != len(self.kept["values"]):
            return None
        return self.kept

    def take(self) -> dict[str, Any] | None:
        """Return the same as `peek`, only once."""
        if (kept := self.peek()) is not None:
            self.kept = None
        return kept

    def discard(self, reason: str) -> None:
        """Delete the unusable checkpoint; training starts from the beginning."""
        log(f"deleted the checkpoint {self._path}; training starts from the beginning: {reason}")
        self.kept = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Save `state`, which includes its seed's `history`, if `every` seconds have passed.

        A full disk costs only the checkpoint, not the trial.
        """
        if self._path is None or time.monotonic() - self._saved < self._every:
            return
        kept = {**state, "values": self.values, "history": self.history or state["history"]}
        try:
            self._path.parent.mkdir(exist_ok=True)
            write_atomically(self._path, lambda file: torch.save(kept, file))
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
            if ends_process(error) is not None:
                raise
            log(f"could not write the checkpoint {self._path}: {quoted(error)}")
        self._saved = time.monotonic()

    def _load(self, path: Path, device: torch.device | None) -> None:
        try:
            # A pickle, since the user's state may hold any object; it was written by code that runs here anyway.
            kept = torch.load(path, map_location=device, weights_only=False)
        except FileNotFoundError:
            return
        except Exception as error:
            if ends_process(error) is not None:
                raise
            # Empty, truncated, not a pickle, or holds a class that has been renamed since.
            self.discard(quoted(error))
            return
        if _is_whole(kept):
            self.kept = kept
        else:
            self.discard("this version of epsearch did not write it")


def _is_whole(kept: object) -> bool:
    return (
        isinstance(kept, dict)
        and kept.keys() == _KEYS
        and isinstance(kept["state"], dict)
        and isinstance(values := kept["values"], list)
        and bool(values)
        and all(isinstance(of_a_seed, list) for of_a_seed in values)
    )
