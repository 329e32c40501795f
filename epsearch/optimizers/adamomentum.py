"""AdaMomentum, with ε kept out of the stored state."""

from __future__ import annotations

from typing import Any

import torch

from epsearch.optimizers.base import AdamLike, corrected


class AdaMomentum(AdamLike):
    """EAdam whose v averages the square of the momentum instead of the gradient's (Table 5).

        mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ
        vₜ = β₂ vₜ₋₁ + (1 - β₂) mₜ²
        ŝₜ = v̂ₜ + ε / (1 - β₂)
        θₜ = θₜ₋₁ - α m̂ₜ / √ŝₜ

    State: m `exp_avg`, v `exp_avg_sq`. v averages mₜ², not m̂ₜ². The original stores s with ε accumulated instead of v;
    see `AdaBelief` for why v is stored here.

    Wang et al. 2021, https://arxiv.org/abs/2106.11514
    """

    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The equations above."""
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
        beta1, beta2 = group["betas"]
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(m, m, value=1 - beta2)
        s_hat = corrected(v, beta2, t).add_(group["eps"] / (1 - beta2))
        p.addcdiv_(corrected(m, beta1, t), s_hat.sqrt_(), value=-group["lr"])
