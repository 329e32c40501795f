"""An optimizer's saved state, wherever it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Shape = tuple[int, ...]


def largest(shapes: Iterable[Shape | None]) -> Shape | None:
    """The parameter's shape, given those of its state, which may have single numbers too; None if it has no tensors."""
    found = (shape for shape in shapes if shape is not None)
    return max(found, key=lambda shape: (math.prod(shape), len(shape)), default=None)


class SavedTensor(NamedTuple):
    """The state of one parameter: what its optimizer class keeps, such as `exp_avg_sq`; empty without a gradient."""

    name: str
    shape: Shape | None
    """None if there is no state to infer it from."""
    group: Mapping[str, Any]
    """Settings of its parameter group: lr, eps, betas …"""
    state: Mapping[str, Any]
    """Tensors may be read from the file when they are looked up."""


class SavedOptimizer(NamedTuple):
    """One optimizer in a checkpoint."""

    key: str
    """Where it is in the checkpoint, such as `optimizer_states.0`; empty if the checkpoint is its state."""
    tensors: Sequence[SavedTensor]

    @property
    def state_keys(self) -> set[str]:
        """The keys of the state of any tensor."""
        return {key for tensor in self.tensors for key in tensor.state}
