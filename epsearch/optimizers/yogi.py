"""Yogi."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from epsearch.optimizers.base import PerTensorOptimizer, corrected


class Yogi(PerTensorOptimizer):
    """Adam whose v changes by at most (1 - β₂) g² per step, even when it decreases.

        mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ
        vₜ = vₜ₋₁ - (1 - β₂) sign(vₜ₋₁ - gₜ²) gₜ²
        θₜ = θₜ₋₁ - α m̂ₜ / (√v̂ₜ + ε)

    State: m `exp_avg`, v `exp_avg_sq`, which starts at `initial_accumulator`. The paper corrects neither m nor v for
    bias; TensorFlow Addons and the PyTorch libraries do, and so does this class.

    Zaheer et al. 2018, Adaptive Methods for Nonconvex Optimization (NeurIPS)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        *,
        initial_accumulator: float = 1e-6,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator": initial_accumulator,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def start(self, p: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """m₀ = 0, v₀ = initial_accumulator."""
        state["exp_avg"] = torch.zeros_like(p)
        state["exp_avg_sq"] = torch.full_like(p, group["initial_accumulator"])

    def update(self, p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The equations above."""
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
        beta1, beta2 = group["betas"]
        m.lerp_(g, 1 - beta1)
        square = g * g
        v.addcmul_((v - square).sign_(), square, value=-(1 - beta2))
        z = corrected(v, beta2, t).sqrt_()
        p.addcdiv_(corrected(m, beta1, t), z.add_(group["eps"]), value=-group["lr"])
