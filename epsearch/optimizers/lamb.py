"""LAMB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from epsearch.optimizers.base import PerTensorOptimizer, corrected


class LAMB(PerTensorOptimizer):
    """Adam's step, rescaled per tensor to the norm of its weights.

        mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ
        vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²
        rₜ = m̂ₜ / (√v̂ₜ + ε)
        uₜ = rₜ + weight_decay · θₜ₋₁
        θₜ = θₜ₋₁ - α (‖θₜ₋₁‖ / ‖uₜ‖) uₜ,   the ratio being 1 where a norm is 0

    State: m `exp_avg`, v `exp_avg_sq`. As in Algorithm 2 of the paper with φ(x) = x: ε is only in the
    elementwise denominator, not in the ratio of norms, where a large ε would shrink every step a second time.

    You et al. 2019, https://arxiv.org/abs/1904.00962
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def decayed(self, p: torch.Tensor, g: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        """Return g unchanged: weight decay is part of u."""
        return g

    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """m₀ = v₀ = 0."""
        state["exp_avg"] = torch.zeros_like(p)
        state["exp_avg_sq"] = torch.zeros_like(p)

    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The equations above."""
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
        beta1, beta2 = group["betas"]
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        u = corrected(m, beta1, t).div_(corrected(v, beta2, t).sqrt_().add_(group["eps"]))
        u.add_(p, alpha=group["weight_decay"])
        weights, step = torch.linalg.vector_norm(p), torch.linalg.vector_norm(u)
        # Chosen on the device: reading the norms would stall a GPU.
        ratio = torch.where((weights > 0) & (step > 0), weights / step, 1.0)
        p.sub_(u.mul_(ratio), alpha=group["lr"])
