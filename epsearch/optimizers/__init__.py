"""Optimizers by name, and ẑ of any `torch.optim.Optimizer` whose class or base class is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from epsearch.errors import UserError
from epsearch.loading import load_object
from epsearch.optimizers.table import ADAPTIVE, OPTIMIZERS, Denominator

if TYPE_CHECKING:
    import torch

    DenominatorReader = Callable[[Mapping[str, Any], Mapping[str, Any]], Denominator]

__all__ = ["Denominator", "create_optimizer", "denominator_reader", "register_denominator"]

_registered: dict[str, DenominatorReader] = {
    row.path: row.denominator for row in OPTIMIZERS.values() if row.denominator is not None
}


def create_optimizer(
    name: str,
    params: Iterable[Any],
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float | None = None,
    **keywords: Any,
) -> torch.optim.Optimizer:
    """Build the optimizer `name` of the table over `params`.

    `eps` None keeps the class's own default; `keywords` go to the class as they are (`weight_decay=5e-4`).

    Raises:
        UserError: no such optimizer, or it takes no eps.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"no optimizer called {name!r}; there are {', '.join(OPTIMIZERS)}.")
    row = OPTIMIZERS[name]
    if eps is not None:
        if "eps" not in row.takes:
            raise UserError(f"{name} has no eps.")
        keywords["eps"] = eps
    optimizer: torch.optim.Optimizer = load_object(row.path)(params, lr=lr, **row.keywords(*betas), **keywords)
    return optimizer


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
        f"epsearch cannot read the denominator term of {type(optimizer).__name__}: it knows "
        f"{', '.join(ADAPTIVE)} and classes derived from them. "
        "Teach it with epsearch.register_denominator(cls, reader)."
    )


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
