"""Optimizers by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.registry.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    import torch


def create_optimizer(
    name: str,
    params: Iterable[Any],
    *,
    lr: float,
    betas: tuple[float, float] | None = None,
    eps: float | None = None,
    **keywords: Any,
) -> torch.optim.Optimizer:
    """Build the optimizer called `name` over `params`, which are tensors or groups as in `torch.optim`.

    With `eps` or `betas` None, the usual defaults apply. Momenta that the optimizer lacks are ignored (β₁ of rmsprop,
    both of adagrad), so one call fits every optimizer. Other `keywords` are passed to the class
    (`weight_decay=5e-4`).

    Raises:
        UserError: `name` is unknown, the optimizer has no eps or no such keyword, or a value is out of range.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"no optimizer called {name!r}; choose one of {', '.join(OPTIMIZERS)}.")
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
            raise UserError(f"{name}: {option} is already set by the optimizer's name or by betas; leave it out.")
        if option not in free:
            raise UserError(f"{name} has no {option}; it takes {', '.join(free)}.")
    try:
        optimizer: torch.optim.Optimizer = cls(params, **fixed, **keywords)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{name}: {error}") from error
    return optimizer


def default_eps(name: str) -> float:
    """The default ε of the optimizer's class."""
    return float(inspect.signature(load_object(OPTIMIZERS[name].path)).parameters["eps"].default)
