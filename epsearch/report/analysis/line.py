"""The line to copy: the optimizer built with what the study found."""

from __future__ import annotations

from typing import Any

from epsearch.core.numbers import label, rounded
from epsearch.registry.optimizers import OPTIMIZERS


def line(optimizer: str, lr: float, eps: float | None, beta2: float | None) -> str | None:
    """`torch.optim.Adam(params, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)`; None if the optimizer is not in the registry.

    epsearch's own optimizers are built by name. β₁ is the class's default, and so is β₂ where it is None.
    """
    row = OPTIMIZERS.get(optimizer)
    if row is None:
        return None
    betas = (row.betas[0], row.betas[1] if beta2 is None else float(rounded("beta2", beta2)))
    module, name = row.path.split(":")
    if module.startswith("torch.optim."):
        call, chosen = f"torch.optim.{name}(params", row.keywords(*betas)
    else:
        call, chosen = (
            f'epsearch.create_optimizer("{optimizer}", params',
            {"betas": betas} if row.keywords(*betas) else {},
        )
    settings: dict[str, Any] = {"lr": rounded("lr", lr), **chosen}
    if eps is not None:
        settings["eps"] = label("eps", eps)
    return f"{call}, {', '.join(f'{key}={value}' for key, value in settings.items())})"
