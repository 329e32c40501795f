"""How ẑ, the term that ε is compared with, is read from the state that each optimizer keeps anyway (Table 5).

| here | paper |
|---|---|
| `state[...]`, `group[...]` | one tensor's state, and the group it belongs to |
| `lr`, `eps`, `betas` | α, ε, (β₁, β₂) |
| `step` | t, of this tensor: 1 after its first step |
| `exp_avg`, `exp_avg_sq` | m, v |
| v̂, m̂ | v / (1 - β₂ᵗ), m / (1 - β₁ᵗ) |

Every reader gives ẑ at the last step taken. For Adam and most of its kin ε is added to √v̂, so ẑ = √v̂.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

    State = Mapping[str, Any]
    Group = Mapping[str, Any]


class Denominator(NamedTuple):
    """ẑ = (scale · v) ** power, elementwise, for an accumulator v that the optimizer keeps.

    ẑ is monotone in v, so percentiles and histograms are taken on v itself: no copy of it is made.
    """

    v: torch.Tensor
    scale: float
    power: float


def bias_correction2(state: State, group: Group) -> float:
    """1 - β₂ᵗ. `step` is a tensor in torch.optim (on the GPU where fused or capturable), a number elsewhere."""
    return float(1 - float(group["betas"][1]) ** float(state["step"]))


def adagrad(state: State, group: Group) -> Denominator:
    """ẑₜ = √vₜ, vₜ = vₜ₋₁ + gₜ² (Table 5, AdaGrad). v is `sum`.

    torch.optim.Adagrad divides by √v + ε: outside the root. v begins at `initial_accumulator_value`, 0 by default.
    """
    return Denominator(state["sum"], scale=1.0, power=0.5)


def rmsprop(state: State, group: Group) -> Denominator:
    """ẑₜ = √vₜ, vₜ = β vₜ₋₁ + (1 - β) gₜ², without bias correction (Table 5, RMSprop). v is `square_avg`, β `alpha`.

    torch.optim.RMSprop divides by √v + ε: outside the root (TensorFlow adds ε inside). With `centered` (not in Table
    5) v is less the square of the average gradient, `grad_avg`: formed here, since it is kept nowhere. Where rounding
    makes the difference negative its root is NaN in the update, too: it is counted as not finite.
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
    """ẑₜ = √v̂ₜ with v `exp_avg_sq`: NAdam, and of Table 5 DiffGrad and AdaMod; also LAMB and Yogi.

    Each has √v̂ + ε, outside the root. torch.optim.NAdam and the classes here agree with Table 5 or their paper; others
    that are about differ: with DiffGrad and AdaMod of their authors, √v + ε is corrected as a whole, so that ε is
    ε / √(1 - β₂ᵗ) beside √v̂.
    """
    return Denominator(state["exp_avg_sq"], scale=1 / bias_correction2(state, group), power=0.5)


def radam(state: State, group: Group) -> Denominator:
    """ẑₜ = √vₜ, not √v̂ₜ (not in Table 5). v is `exp_avg_sq`.

    torch.optim.RAdam multiplies by √(1 - β₂ᵗ) / (√v + ε): it is the uncorrected root that ε is added to. (Liu et al.
    2019 have no ε.) In the first steps, until the variance is tractable, it does not divide at all.
    """
    return Denominator(state["exp_avg_sq"], scale=1.0, power=0.5)


def adamax(state: State, group: Group) -> Denominator:
    """ẑₜ = uₜ - ε, uₜ = max(β₂ uₜ₋₁, |gₜ| + ε) (not in Table 5). u is `exp_inf`.

    torch.optim.Adamax divides by u, into which ε went beside |g| (Kingma and Ba 2015 have no ε). What the gradients
    put there is u - ε: exactly |g| where the latest gradient decides, and never off by more than ε. Below the
    resolution of u, 1e-7 ε in float32, it is lost: probe with a small ε.
    """
    return Denominator((state["exp_inf"] - group["eps"]).clamp_(min=0), scale=1.0, power=1.0)


def adabelief(state: State, group: Group) -> Denominator:
    """ẑₜ = (1 - β₂) v̂ₜ, vₜ = β₂ vₜ₋₁ + (1 - β₂)(gₜ - mₜ)² (Table 5, AdaBelief). v is `exp_avg_var`.

    α / (√(v̂ + ε / (1 - β₂)) + ε): ε is inside the root, and again outside, where it is small beside the first. Compared
    is what is inside, so ẑ has no root. v is kept without the ε that the original accumulates into it.
    """
    return _inside_the_root(state["exp_avg_var"], state, group)


def eadam(state: State, group: Group) -> Denominator:
    """ẑₜ = (1 - β₂) v̂ₜ, vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ² (Table 5, EAdam). v is `exp_avg_sq`.

    α / √(v̂ + ε / (1 - β₂)): inside the root. v is kept without the ε that the original accumulates into it.
    """
    return _inside_the_root(state["exp_avg_sq"], state, group)


def adamomentum(state: State, group: Group) -> Denominator:
    """ẑₜ = (1 - β₂) v̂ₜ, vₜ = β₂ vₜ₋₁ + (1 - β₂) mₜ² (Table 5, AdaMomentum). v is `exp_avg_sq`.

    α / √(v̂ + ε / (1 - β₂)): inside the root. v is kept without the ε that the original accumulates into it.
    """
    return _inside_the_root(state["exp_avg_sq"], state, group)


def _inside_the_root(v: torch.Tensor, state: State, group: Group) -> Denominator:
    return Denominator(v, scale=(1 - float(group["betas"][1])) / bias_correction2(state, group), power=1.0)


def madgrad(state: State, group: Group) -> Denominator:
    """ẑₜ = ∛vₜ, vₜ = vₜ₋₁ + λₜ gₜ², λₜ = α √(t + 1) (Table 5, MADGRAD). v is `grad_sum_sq`.

    1 / (∛v + ε): outside the root. α is in v, so ẑ grows with the cube root of the lr it was probed with.
    """
    return Denominator(state["grad_sum_sq"], scale=1.0, power=1 / 3)
