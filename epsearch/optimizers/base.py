"""Base classes of epsearch's own optimizers, so that each optimizer's file has only its equations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch


class PerTensorOptimizer(torch.optim.Optimizer):
    """An optimizer that updates each tensor from its own gradient and state.

    Follows the conventions of `torch.optim`: a tensor without a gradient is skipped and counts no step; `maximize`
    ascends. Gradients are never modified. The state is `step` (an int per tensor) and whatever `start` adds, in the
    parameter's dtype. Groups have `lr`, `eps`, `weight_decay`, `maximize` and the keys that `update` and `decayed`
    use.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Check and add a parameter group; the constructor calls this too.

        Raises:
            ValueError: a value is out of range.
        """
        group = {**self.defaults, **param_group}
        for key in ("lr", "eps", "weight_decay"):
            if not group[key] >= 0:
                raise ValueError(f"{key} must be at least 0, not {group[key]}")
        beta1, beta2 = group.get("betas", (0.0, 0.0))
        fractions = {"beta1": beta1, "beta2": beta2, "beta3": group.get("beta3"), "momentum": group.get("momentum")}
        for key, value in fractions.items():
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{key} must be at least 0 and below 1, not {value}")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; return the loss of `closure`, which reevaluates the model, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_tensor(parameter, group)
        return loss

    def _step_tensor(self, p: torch.Tensor, group: dict[str, Any]) -> None:
        g = p.grad
        assert g is not None, "checked by the caller"
        if g.is_sparse or g.is_complex():
            raise RuntimeError(
                f"{type(self).__name__} does not support {'sparse' if g.is_sparse else 'complex'} gradients"
            )
        state = self.state[p]
        if not state:
            state["step"] = 0
            self.start(p, state, group)
        state["step"] += 1
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = self.decayed(p, g, group)
        self.update(p, g, state, group)

    def decayed(self, p: torch.Tensor, g: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        """Apply weight decay; return the gradient for `update`.

        L2 decay is added to the gradient, so it enters v; decoupled decay shrinks p directly.
        """
        if group["decoupled_weight_decay"]:
            p.mul_(1 - group["lr"] * group["weight_decay"])
            return g
        return g.add(p, alpha=group["weight_decay"])

    @abstractmethod
    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Initialize the `state` that `update` needs, before p's first step."""

    @abstractmethod
    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Take step number `state["step"]` (1 is the first): update p in place from the gradient g."""


class AdamLike(PerTensorOptimizer):
    """Has Adam's arguments, and its two averages as state: `exp_avg` and `exp_avg_sq`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """m₀ = v₀ = 0."""
        state["exp_avg"] = torch.zeros_like(p)
        state["exp_avg_sq"] = torch.zeros_like(p)


def corrected(average: torch.Tensor, beta: float, step: int) -> torch.Tensor:
    """m̂ = m / (1 - βᵗ), v̂ = v / (1 - βᵗ): an exponential moving average, corrected for its start at zero."""
    return average / (1 - beta**step)
