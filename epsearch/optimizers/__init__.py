"""Optimizers by name, and ẑ of any `torch.optim.Optimizer` whose class or base class is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.optimizers.denominators import Denominator
from epsearch.registry.optimizers import ADAPTIVE, OPTIMIZERS

if TYPE_CHECKING:
    import torch

    DenominatorReader = Callable[[Mapping[str, Any], Mapping[str, Any]], Denominator]

__all__ = ["Denominator", "create_optimizer", "default_eps", "denominator_reader", "register_denominator", "unwrapped"]

_registered: dict[str, DenominatorReader] = {
    row.path: load_object(row.denominator) for row in OPTIMIZERS.values() if row.denominator is not None
}


def create_optimizer(
    name: str,
    params: Iterable[Any],
    *,
    lr: float,
    betas: tuple[float, float] | None = None,
    eps: float | None = None,
    **keywords: Any,
) -> torch.optim.Optimizer:
    """Build the optimizer `name` of the table over `params`: tensors or groups, as torch.optim takes them.

    `eps` and `betas` None keep the field's defaults. A momentum that the optimizer does not have is ignored (β₁ of
    rmsprop, both of adagrad), so that one call serves every row; `keywords` go to the class as they are
    (`weight_decay=5e-4`), and there must be such.

    Raises:
        UserError: no such optimizer; it takes no eps, or not one of the keywords; a value is out of its range.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"no optimizer called {name!r}; there are {', '.join(OPTIMIZERS)}.")
    row = OPTIMIZERS[name]
    cls = load_object(row.path)
    fixed: dict[str, Any] = {"lr": lr, **row.keywords(*(row.betas if betas is None else betas))}
    if eps is not None:
        if "eps" not in row.takes:
            raise UserError(f"{name} has no eps.")
        fixed["eps"] = eps
    free = [option for option in inspect.signature(cls).parameters if option not in {"params", "eps", *fixed}]
    for option in keywords:
        if option in fixed:
            raise UserError(f"{name}: {option} is set already, by the optimizer's name and by betas; leave it out.")
        if option not in free:
            raise UserError(f"{name} has no {option}; it takes {', '.join(free)}.")
    try:
        optimizer: torch.optim.Optimizer = cls(params, **fixed, **keywords)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{name}: {error}") from error
    return optimizer


def default_eps(name: str) -> float:
    """The ε that the class of the optimizer `name` uses where none is given."""
    return float(inspect.signature(load_object(OPTIMIZERS[name].path)).parameters["eps"].default)


def register_denominator(cls: type[torch.optim.Optimizer], reader: DenominatorReader) -> None:
    """Teach the probe an optimizer class: `reader(state, group)` gives ẑ of one parameter as a `Denominator`.

    `state` is `optimizer.state[parameter]`, `group` the parameter's group. Subclasses are covered too.
    """
    _registered[_path(cls)] = reader


def unwrapped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer inside of those that wrap one as `.optimizer`: Lightning's, Accelerate's."""
    # Not asked of the bases: Lightning's wrapper of an Adam is an Adam, too.
    while _path(type(optimizer)) not in _registered and hasattr(getattr(optimizer, "optimizer", None), "param_groups"):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    return optimizer


def denominator_reader(optimizer: torch.optim.Optimizer) -> DenominatorReader:
    """The function that reads ẑ from the state of this optimizer, or of the one that it wraps.

    Raises:
        UserError: neither its class nor a base class is known; the message says how to register it.
    """
    cls = type(unwrapped(optimizer))
    if (reader := _reader(cls)) is not None:
        return reader
    raise UserError(
        f"epsearch cannot read the denominator term of {_path(cls)}. It knows {', '.join(ADAPTIVE)} as "
        "epsearch.create_optimizer(name, …) builds them (most are torch.optim's), and classes derived from those. "
        "Teach it another with epsearch.register_denominator(cls, reader)."
    )


def _reader(cls: type) -> DenominatorReader | None:
    known = (_registered[_path(base)] for base in cls.__mro__ if _path(base) in _registered)
    return next(known, None)


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
