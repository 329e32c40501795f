"""What the optimizers written here share, so that each of them is its equations alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch


class PerTensorOptimizer(torch.optim.Optimizer):
    """An optimizer that updates one tensor after another, from its gradient and its own state.

    Conventions are those of `torch.optim`: a tensor without gradient is left alone and counts no step; `maximize`
    ascends. A gradient is never written to. State is `step` (an int, of this tensor) and what `start` adds, in the
    parameter's dtype. Groups have `lr`, `eps`, `weight_decay`, `maximize` and what `update` and `decayed` ask for.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, its values checked: those of the constructor come through here, too.

        Raises:
            ValueError: a value is out of its range.
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
        """Take one step; `closure` reevaluates the model and returns the loss, which is passed on."""
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
        assert g is not None, "asked before"
        if g.is_sparse or g.is_complex():
            raise RuntimeError(f"{type(self).__name__} takes no {'sparse' if g.is_sparse else 'complex'} gradients")
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
        """Apply weight decay; return the gradient that `update` is to see.

        L2 is added to the gradient, so that v sees it; decoupled decay shrinks p itself.
        """
        if group["decoupled_weight_decay"]:
            p.mul_(1 - group["lr"] * group["weight_decay"])
            return g
        return g.add(p, alpha=group["weight_decay"])

    @abstractmethod
    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Put what `update` needs into `state`, before p's first step."""

    @abstractmethod
    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Take step number `state["step"]` (1 is the first) of p, in place, along the gradient g."""


class AdamLike(PerTensorOptimizer):
    """With the arguments of Adam, and its two averages as state: `exp_avg` and `exp_avg_sq`."""

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
    """m̂ = m / (1 - βᵗ), v̂ = v / (1 - βᵗ): an exponential moving average without its bias to the zero it began at."""
    return average / (1 - beta**step)
