"""Every optimizer a study can name: how it is built, where ε enters, how ẑ is read from its state.

A new optimizer is one row here and one function that reads its ẑ. Nothing here imports torch: rows name
their class, `resolve` loads it when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def adam_denominator(state: State, group: Group) -> Denominator:
    """ẑ = √v̂ with v̂ = v / (1 - β₂ᵗ) (Table 5, Adam); with `amsgrad`, of the running maximum of v.

    torch.optim.Adam and AdamW divide by √v / √(1 - β₂ᵗ) + ε: the same, ε outside the root.
    """
    v = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return Denominator(v, scale=1 / (1 - float(group["betas"][1]) ** float(state["step"])), power=0.5)


@dataclass(frozen=True)
class OptimizerRow:
    """One optimizer.

    `path` is `module:class`; `keywords(beta1, beta2)` are the arguments its class calls the momenta by;
    `takes` are the axes a study may search; `eps_enters` and `note` are shown by `epsearch list`;
    `denominator(state, group)` reads ẑ of one tensor, None where no ε exists.
    """

    path: str
    keywords: Callable[[float, float], dict[str, Any]]
    takes: tuple[str, ...]
    eps_enters: str
    note: str
    denominator: Callable[[State, Group], Denominator] | None


OPTIMIZERS: dict[str, OptimizerRow] = {
    "adam": OptimizerRow(
        path="torch.optim.adam:Adam",
        keywords=lambda beta1, beta2: {"betas": (beta1, beta2)},
        takes=("lr", "eps", "beta2"),
        eps_enters="outside the root: α / (√v̂ + ε)",
        note="weight decay is L2: part of the gradient that v sees",
        denominator=adam_denominator,
    ),
    "adamw": OptimizerRow(
        path="torch.optim.adamw:AdamW",
        keywords=lambda beta1, beta2: {"betas": (beta1, beta2)},
        takes=("lr", "eps", "beta2"),
        eps_enters="outside the root: α / (√v̂ + ε)",
        note="weight decay is decoupled: v does not see it",
        denominator=adam_denominator,
    ),
    # Dampening = momentum makes b an exponential moving average (Eq. 5 with μ = γ = β₁), so that its lr
    # compares directly with α/ε of an immutable Adam. It is an arm to compare with, not one to probe.
    "sgd_momentum": OptimizerRow(
        path="torch.optim.sgd:SGD",
        keywords=lambda beta1, _: {"momentum": beta1, "dampening": beta1},
        takes=("lr",),
        eps_enters="has none",
        note="Eqs. 5 and 6 with momentum = dampening = beta1: what Adam becomes at large eps, at lr = α/ε",
        denominator=None,
    ),
}

ADAPTIVE = [name for name, row in OPTIMIZERS.items() if row.denominator is not None]
BASELINES = [name for name, row in OPTIMIZERS.items() if row.denominator is None]
