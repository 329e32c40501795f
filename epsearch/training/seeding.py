"""Random numbers that depend only on the seed and the epoch, so that every cell sees the same batches."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_all(*key: int) -> None:
    """Seed Python, NumPy and torch (all devices) from `key`, e.g. (seed, epoch)."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    seed = int.from_bytes(digest[:8], "big") >> 1
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators (all devices)."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        # Reading the state would create a context on a GPU that is not in use, and fail if that GPU is full.
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Restore the result of `random_states`."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].cpu())
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state.cpu(), device)


class RandomStream:
    """A separate stream of torch's random numbers (dropout), independent of the one that orders the data."""

    def __init__(self, device: torch.device, *key: int) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self._devices):
            seed_all(*key)
            self._save()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Inside this context torch draws from this stream; afterwards its own state is restored."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._save()

    @property
    def state(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The stream's current state; can be set."""
        return self._cpu, self._cuda

    @state.setter
    def state(self, state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
        self._cpu, self._cuda = state[0].cpu(), [cuda.cpu() for cuda in state[1]]

    def _save(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]
