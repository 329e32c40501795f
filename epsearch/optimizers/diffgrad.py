"""DiffGrad."""

from __future__ import annotations

from typing import Any

import torch

from epsearch.optimizers.base import AdamLike, corrected


class DiffGrad(AdamLike):
    """Adam with smaller steps where the gradient hardly changes (Table 5).

        ξₜ = 1 / (1 + exp(-|gₜ₋₁ - gₜ|)),   ½ <= ξₜ <= 1
        mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ
        vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²
        θₜ = θₜ₋₁ - α ξₜ m̂ₜ / (√v̂ₜ + ε)

    State: m `exp_avg`, v `exp_avg_sq`, gₜ₋₁ `previous_grad` (g₀ = 0). Table 5 omits the absolute value in ξ, which
    its bound ½ <= ξₜ and the original paper imply.

    Dubey et al. 2019, https://arxiv.org/abs/1909.11015
    """

    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """m₀ = v₀ = g₀ = 0."""
        super().start(p, state, group)
        state["previous_grad"] = torch.zeros_like(p)

    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The equations above."""
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
        beta1, beta2 = group["betas"]
        friction = (state["previous_grad"] - g).abs_().sigmoid_()
        state["previous_grad"].copy_(g)
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        z = corrected(v, beta2, t).sqrt_()
        p.addcdiv_(corrected(m, beta1, t).mul_(friction), z.add_(group["eps"]), value=-group["lr"])
