"""The learning rate of SGD that equals an immutable optimizer (Table 5)."""

from __future__ import annotations

import math

OUTSIDE_THE_ROOT = ("adam", "adamw", "amsgrad", "nadam", "radam", "rmsprop")
"""Optimizers that add ε to √v (Table 5)."""


INSIDE_THE_ROOT = ("eadam", "adamomentum")
"""Optimizers whose ε accumulates under the root."""


def sgd_rate(optimizer: str, lr: float, eps: float, beta2: float | None) -> float | None:
    """The SGD learning rate equivalent to an ε far above ẑ (Table 5); None if it is not constant."""
    if optimizer in OUTSIDE_THE_ROOT:
        return lr / eps
    if beta2 is None:
        return None
    root = math.sqrt(eps / (1 - beta2))
    if optimizer in INSIDE_THE_ROOT:
        return lr / root
    return lr / (root + eps) if optimizer == "adabelief" else None
