"""Random numbers that depend on the seed and the epoch alone, so that every cell sees the same."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_all(*key: int) -> None:
    """Seed Python, NumPy and torch (all devices) from `key`, e.g. (seed, epoch)."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    seed = int.from_bytes(digest[:8], "big") >> 1
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class RandomStream:
    """A stream of torch's random numbers (dropout) of its own, beside the one that the data are drawn from."""

    def __init__(self, device: torch.device, *key: int) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self._devices):
            seed_all(*key)
            self._save()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Within, torch draws from this stream; afterwards from where it was."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._save()

    def _save(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]
