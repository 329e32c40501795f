"""MADGRAD."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from epsearch.optimizers.base import PerTensorOptimizer


class MADGRAD(PerTensorOptimizer):
    """Dual averaging with a cube root (Table 5).

        λₜ = α √(t + 1),   t = 0, 1, …
        sₜ = sₜ₋₁ + λₜ gₜ
        vₜ = vₜ₋₁ + λₜ gₜ²
        θₜ = momentum · θₜ₋₁ + (1 - momentum) (θ₀ - sₜ / (∛vₜ + ε))

    State: s `s`, v `grad_sum_sq`, θ₀ `x0`. The authors' code computes λ from α + ε, so that a search over ε would
    also change λ; here it is computed from α, as in Table 5 and the paper.

    Defazio and Jelassi 2021, https://arxiv.org/abs/2101.11075
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        momentum: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """s₀ = v₀ = 0; store θ₀."""
        state["s"] = torch.zeros_like(p)
        state["grad_sum_sq"] = torch.zeros_like(p)
        state["x0"] = p.clone()

    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The equations above."""
        s, v = state["s"], state["grad_sum_sq"]
        rate = group["lr"] * state["step"] ** 0.5
        s.add_(g, alpha=rate)
        v.addcmul_(g, g, value=rate)
        target = state["x0"].addcdiv(s, v.pow(1 / 3).add_(group["eps"]), value=-1)
        p.lerp_(target, 1 - group["momentum"])
