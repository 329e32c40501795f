"""AdaMod."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from epsearch.optimizers.base import PerTensorOptimizer, corrected


class AdaMod(PerTensorOptimizer):
    """Adam whose learning rates are bounded by their own moving average (Table 5).

        mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ
        vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²
        nₜ = α / (√v̂ₜ + ε)
        sₜ = β₃ sₜ₋₁ + (1 - β₃) nₜ
        θₜ = θₜ₋₁ - min(nₜ, sₜ) m̂ₜ

    State: m `exp_avg`, v `exp_avg_sq`, s `exp_avg_lr`. s is not bias-corrected, which acts as a warm-up.

    Ding et al. 2019, https://arxiv.org/abs/1910.12249
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        beta3: float = 0.999,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "beta3": beta3,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """m₀ = v₀ = s₀ = 0."""
        state["exp_avg"] = torch.zeros_like(p)
        state["exp_avg_sq"] = torch.zeros_like(p)
        state["exp_avg_lr"] = torch.zeros_like(p)

    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The equations above."""
        m, v, s, t = state["exp_avg"], state["exp_avg_sq"], state["exp_avg_lr"], state["step"]
        beta1, beta2 = group["betas"]
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        n = group["lr"] / corrected(v, beta2, t).sqrt_().add_(group["eps"])
        s.lerp_(n, 1 - group["beta3"])
        p.sub_(torch.minimum(n, s).mul_(corrected(m, beta1, t)))
