"""AdaBelief, with ε kept out of the stored state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from epsearch.optimizers.base import PerTensorOptimizer, corrected


class AdaBelief(PerTensorOptimizer):
    """Adam whose v is the variance of the gradient about its average (Table 5).

        mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ
        vₜ = β₂ vₜ₋₁ + (1 - β₂) (gₜ - mₜ)²
        ŝₜ = v̂ₜ + ε / (1 - β₂)
        θₜ = θₜ₋₁ - α m̂ₜ / (√ŝₜ + ε)

    State: m `exp_avg`, v `exp_avg_var`. The original stores sₜ = β₂ sₜ₋₁ + (1 - β₂)(gₜ - mₜ)² + ε instead of v, which
    gives the same ŝₜ = sₜ / (1 - β₂ᵗ) (footnote 6). Here ε is added only when it is used: in float32, v cannot be
    recovered from an s in which ε is 1e5 times larger.

    Zhuang et al. 2020, https://arxiv.org/abs/2010.07468
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
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
        state["exp_avg_var"] = torch.zeros_like(p)

    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The equations above."""
        m, v, t = state["exp_avg"], state["exp_avg_var"], state["step"]
        beta1, beta2 = group["betas"]
        m.lerp_(g, 1 - beta1)
        surprise = g - m
        v.mul_(beta2).addcmul_(surprise, surprise, value=1 - beta2)
        s_hat = corrected(v, beta2, t).add_(group["eps"] / (1 - beta2))
        p.addcdiv_(corrected(m, beta1, t), s_hat.sqrt_().add_(group["eps"]), value=-group["lr"])
