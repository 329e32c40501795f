"""How ẑ is read from an optimizer's state, by its class or a base class of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.optimizers.denominators import Denominator
from epsearch.registry.optimizers import ADAPTIVE, OPTIMIZERS

if TYPE_CHECKING:
    import torch

    DenominatorReader = Callable[[Mapping[str, Any], Mapping[str, Any]], Denominator]

_registered: dict[str, DenominatorReader | str] = {
    row.path: row.denominator for row in OPTIMIZERS.values() if row.denominator is not None
}
"""Readers, or their paths, by the path of a class: loaded on first use, so that a reader's module may import torch."""


def register_denominator(cls: type[torch.optim.Optimizer], reader: DenominatorReader) -> None:
    """Register how to read ẑ of the optimizer class `cls` and its subclasses.

    `reader(state, group)` returns the `Denominator` of one parameter: `state` is `optimizer.state[parameter]`, `group`
    the parameter's group.
    """
    _registered[_path(cls)] = reader


def unwrapped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The innermost optimizer of wrappers that hold one as `.optimizer`, such as Lightning's and Accelerate's."""
    # Look up the class itself, not its bases: Lightning's wrapper of an Adam is a subclass of Adam.
    while _path(type(optimizer)) not in _registered and hasattr(getattr(optimizer, "optimizer", None), "param_groups"):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    return optimizer


def denominator_reader(optimizer: torch.optim.Optimizer) -> DenominatorReader:
    """The function that reads ẑ from the state of this optimizer, or of the one it wraps.

    Raises:
        UserError: no reader is registered for its class or a base class.
    """
    cls = type(unwrapped(optimizer))
    for base in cls.__mro__:
        if (reader := _registered.get(_path(base))) is not None:
            return load_object(reader) if isinstance(reader, str) else reader
    raise UserError(
        f"epsearch cannot read the denominator term of {_path(cls)}. It supports {', '.join(ADAPTIVE)} as built by "
        "epsearch.create_optimizer(name, …) (most are torch.optim's), and subclasses of those. "
        "Register a reader for any other class with epsearch.register_denominator(cls, reader)."
    )


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
