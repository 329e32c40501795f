"""Optimizers by name, and ẑ of any `torch.optim.Optimizer` whose class or base class is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from epsearch.errors import UserError
from epsearch.loading import load_object
from epsearch.optimizers.table import ADAPTIVE, OPTIMIZERS, Denominator

if TYPE_CHECKING:
    import torch

    DenominatorReader = Callable[[Mapping[str, Any], Mapping[str, Any]], Denominator]

__all__ = ["Denominator", "create_optimizer", "default_eps", "denominator_reader", "register_denominator"]

_registered: dict[str, DenominatorReader] = {
    row.path: row.denominator for row in OPTIMIZERS.values() if row.denominator is not None
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


def denominator_reader(optimizer: torch.optim.Optimizer) -> DenominatorReader:
    """The function that reads ẑ from this optimizer's state.

    Raises:
        UserError: neither its class nor a base class is known; the message says how to register it.
    """
    for cls in type(optimizer).__mro__:
        if _path(cls) in _registered:
            return _registered[_path(cls)]
    raise UserError(
        f"epsearch cannot read the denominator term of {_path(type(optimizer))}. It knows {', '.join(ADAPTIVE)} as "
        "epsearch.create_optimizer(name, …) builds them (most are torch.optim's), and classes derived from those. "
        "Teach it another with epsearch.register_denominator(cls, reader)."
    )


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
