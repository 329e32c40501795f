"""How ẑ, the term that ε is compared with, is read from the state that each optimizer keeps anyway (Table 5).

| here | paper |
|---|---|
| `state[...]`, `group[...]` | one tensor's state, and the group it belongs to |
| `lr`, `eps`, `betas` | α, ε, (β₁, β₂) |
| `step` | t, of this tensor: 1 after its first step |
| `exp_avg`, `exp_avg_sq` | m, v |
| v̂, m̂ | v / (1 - β₂ᵗ), m / (1 - β₁ᵗ) |

Every reader returns ẑ at the last step. In Adam and most of its relatives ε is added to √v̂, so ẑ = √v̂.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

    State = Mapping[str, Any]
    Group = Mapping[str, Any]


class Denominator(NamedTuple):
    """ẑ = (scale · v) ** power, elementwise, for an accumulator v in the optimizer's state.

    ẑ is monotone in v, so percentiles and histograms are computed from v itself, without a copy. An ε far above ẑ
    divides the update by ε ** root: 1/2 where ε is inside the square root, 0 where the update is rescaled afterwards.
    """

    v: torch.Tensor
    scale: float
    power: float
    root: float = 1.0


def bias_correction2(state: State, group: Group) -> float:
    """1 - β₂ᵗ. `step` is a tensor in torch.optim (on the GPU where fused or capturable), a number elsewhere."""
    return float(1 - float(group["betas"][1]) ** float(state["step"]))


def adagrad(state: State, group: Group) -> Denominator:
    """ẑₜ = √vₜ, vₜ = vₜ₋₁ + gₜ² (Table 5, AdaGrad). v is `sum`.

    torch.optim.Adagrad divides by √v + ε: outside the root. v starts at `initial_accumulator_value`, 0 by default.
    """
    return Denominator(state["sum"], scale=1.0, power=0.5)


def rmsprop(state: State, group: Group) -> Denominator:
    """ẑₜ = √vₜ, vₜ = β vₜ₋₁ + (1 - β) gₜ², without bias correction (Table 5, RMSprop). v is `square_avg`, β `alpha`.

    torch.optim.RMSprop divides by √v + ε: outside the root (TensorFlow adds ε inside). With `centered` (not in Table
    5) the square of the average gradient, `grad_avg`, is subtracted from v; this computes the difference, which is
    not stored. If rounding makes it negative, its root is NaN in the update too, and it is counted as not finite.
    """
    v = state["square_avg"]
    if group["centered"]:
        v = v.addcmul(state["grad_avg"], state["grad_avg"], value=-1)
    return Denominator(v, scale=1.0, power=0.5)


def adam(state: State, group: Group) -> Denominator:
    """ẑₜ = √v̂ₜ, vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ² (Table 5, Adam). v is `exp_avg_sq`.

    torch.optim.Adam, AdamW divide by √v / √(1 - β₂ᵗ) + ε: the same, ε outside the root. With `amsgrad` (not in Table
    5) v is its own running maximum, `max_exp_avg_sq`, taken before bias correction (Reddi et al. 2018 correct none).
    """
    v = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return Denominator(v, scale=1 / bias_correction2(state, group), power=0.5)


def second_moment(state: State, group: Group) -> Denominator:
    """ẑₜ = √v̂ₜ with v `exp_avg_sq`: NAdam, and of Table 5 DiffGrad and AdaMod; also Yogi.

    Each has √v̂ + ε, outside the root. torch.optim.NAdam and the classes here agree with Table 5 or their paper. Other
    implementations differ: the original DiffGrad and AdaMod correct √v + ε as a whole, so that ε / √(1 - β₂ᵗ) is added
    to √v̂.
    """
    return Denominator(state["exp_avg_sq"], scale=1 / bias_correction2(state, group), power=0.5)


def lamb(state: State, group: Group) -> Denominator:
    """ẑₜ = √v̂ₜ (not in Table 5). v is `exp_avg_sq`.

    You et al. 2019 divide by √v̂ + ε: outside the root. The update is then rescaled to the norm of the weights, which
    cancels what a large ε divides it by.
    """
    return second_moment(state, group)._replace(root=0.0)


def radam(state: State, group: Group) -> Denominator:
    """ẑₜ = √vₜ, not √v̂ₜ (not in Table 5). v is `exp_avg_sq`.

    torch.optim.RAdam multiplies by √(1 - β₂ᵗ) / (√v + ε): ε is added to the uncorrected root. (Liu et al. 2019 have no
    ε.) In the first steps, until the variance is tractable, it does not divide at all.
    """
    return Denominator(state["exp_avg_sq"], scale=1.0, power=0.5)


def adamax(state: State, group: Group) -> Denominator:
    """ẑₜ = uₜ - ε, uₜ = max(β₂ uₜ₋₁, |gₜ| + ε) (not in Table 5). u is `exp_inf`.

    torch.optim.Adamax divides by u, where ε is added to |g| (Kingma and Ba 2015 have no ε). The gradients' part is
    u - ε: exactly |g| if the latest gradient is the maximum, and never off by more than ε. Anything below the
    resolution of u, 1e-7 ε in float32, is lost: probe with a small ε.
    """
    return Denominator((state["exp_inf"] - group["eps"]).clamp_(min=0), scale=1.0, power=1.0)


def adabelief(state: State, group: Group) -> Denominator:
    """ẑₜ = (1 - β₂) v̂ₜ, vₜ = β₂ vₜ₋₁ + (1 - β₂)(gₜ - mₜ)² (Table 5, AdaBelief). v is `exp_avg_var`.

    α / (√(v̂ + ε / (1 - β₂)) + ε): ε is inside the root, and again outside, where it is comparatively small. ε is
    compared with the terms inside, so ẑ has no root. v is stored without the ε that the original accumulates into it.
    """
    return _inside_the_root(state["exp_avg_var"], state, group)


def adabelief_accumulated(state: State, group: Group) -> Denominator:
    """As `adabelief`, for implementations that add ε to the stored v at every step (Zhuang et al.'s own and others).

    ẑₜ = (1 - β₂) v̂ₜ - ε, without what has accumulated. Anything below the resolution of v, 1e-7 ε in float32, is lost.
    """
    accumulated = float(group["eps"]) * bias_correction2(state, group) / (1 - float(group["betas"][1]))
    return _inside_the_root((state["exp_avg_var"] - accumulated).clamp_(min=0), state, group)


def eadam(state: State, group: Group) -> Denominator:
    """ẑₜ = (1 - β₂) v̂ₜ, vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ² (Table 5, EAdam). v is `exp_avg_sq`.

    α / √(v̂ + ε / (1 - β₂)): inside the root. v is stored without the ε that the original accumulates into it.
    """
    return _inside_the_root(state["exp_avg_sq"], state, group)


def adamomentum(state: State, group: Group) -> Denominator:
    """ẑₜ = (1 - β₂) v̂ₜ, vₜ = β₂ vₜ₋₁ + (1 - β₂) mₜ² (Table 5, AdaMomentum). v is `exp_avg_sq`.

    α / √(v̂ + ε / (1 - β₂)): inside the root. v is stored without the ε that the original accumulates into it.
    """
    return _inside_the_root(state["exp_avg_sq"], state, group)


def _inside_the_root(v: torch.Tensor, state: State, group: Group) -> Denominator:
    scale = (1 - float(group["betas"][1])) / bias_correction2(state, group)
    return Denominator(v, scale=scale, power=1.0, root=0.5)


def madgrad(state: State, group: Group) -> Denominator:
    """ẑₜ = ∛vₜ, vₜ = vₜ₋₁ + λₜ gₜ², λₜ = α √(t + 1) (Table 5, MADGRAD). v is `grad_sum_sq`.

    1 / (∛v + ε): outside the root. v contains α, so ẑ grows with the cube root of the probe's lr.
    """
    return Denominator(state["grad_sum_sq"], scale=1.0, power=1 / 3)
