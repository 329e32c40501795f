"""Every optimizer a study can name: how it is built, where ε enters, how ẑ is read from its state.

A new optimizer is one row here and at most one file with its class and the function that reads its ẑ. Nothing here
imports torch: classes and readers are loaded when used. Classes are torch.optim's if those agree with Table 5,
otherwise epsearch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _betas(beta1: float, beta2: float) -> dict[str, Any]:
    return {"betas": (beta1, beta2)}


@dataclass(frozen=True)
class OptimizerRow:
    """One optimizer.

    Attributes:
        path: `module:class`.
        eps_enters: Where ε enters the update; shown by `epsearch list`.
        note: Shown by `epsearch list`.
        denominator: `module:function` that reads ẑ of one tensor; None if the optimizer has no ε.
        keywords: Maps (beta1, beta2) to arguments of the class, with those that its name implies. Momenta that the
            class does not have are ignored.
        betas: Default betas, those of the class.
        eps: Default ε, that of the class; None if it has none.
        weight_decay: Default weight decay, that of the class.
        takes: The axes that a study can search.
    """

    path: str
    eps_enters: str
    note: str
    denominator: str | None
    keywords: Callable[[float, float], dict[str, Any]] = _betas
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float | None = 1e-8
    weight_decay: float = 0.0
    takes: tuple[str, ...] = ("lr", "eps", "beta2")


L2 = "L2 weight decay, which enters v with the gradient"

OPTIMIZERS: dict[str, OptimizerRow] = {
    # Table 5, in its order.
    "adagrad": OptimizerRow(
        path="torch.optim.adagrad:Adagrad",
        eps_enters="outside the root: α / (√v + ε), v the sum of all squared gradients",
        note=f"no momenta; {L2}",
        denominator="epsearch.optimizers.denominators:adagrad",
        keywords=lambda _beta1, _beta2: {},
        takes=("lr", "eps"),
        eps=1e-10,
    ),
    "rmsprop": OptimizerRow(
        path="torch.optim.rmsprop:RMSprop",
        eps_enters="outside the root: α / (√v + ε), no bias correction",
        note=f"beta2 is its alpha; no beta1 (momentum=… is different); {L2}",
        denominator="epsearch.optimizers.denominators:rmsprop",
        keywords=lambda _beta1, beta2: {"alpha": beta2},
        betas=(0.9, 0.99),
    ),
    "adam": OptimizerRow(
        path="torch.optim.adam:Adam",
        eps_enters="outside the root: α / (√v̂ + ε)",
        note=L2,
        denominator="epsearch.optimizers.denominators:adam",
    ),
    "diffgrad": OptimizerRow(
        path="epsearch.optimizers.diffgrad:DiffGrad",
        eps_enters="outside the root: α ξ / (√v̂ + ε), ½ <= ξ <= 1",
        note=L2,
        denominator="epsearch.optimizers.denominators:second_moment",
    ),
    "adamod": OptimizerRow(
        path="epsearch.optimizers.adamod:AdaMod",
        eps_enters="outside the root: n = α / (√v̂ + ε), and the step size is min(n, average of n)",
        note=f"beta3 averages n; {L2}",
        denominator="epsearch.optimizers.denominators:second_moment",
    ),
    "adabelief": OptimizerRow(
        path="epsearch.optimizers.adabelief:AdaBelief",
        eps_enters="inside the root and outside: α / (√(v̂ + ε/(1-β₂)) + ε); compared with (1-β₂) v̂",
        note=f"v is the variance of the gradient about its average; {L2}",
        denominator="epsearch.optimizers.denominators:adabelief",
        eps=1e-16,
    ),
    "madgrad": OptimizerRow(
        path="epsearch.optimizers.madgrad:MADGRAD",
        eps_enters="outside the cube root: 1 / (∛v + ε), with the lr in v",
        note=f"beta1 is its momentum, no beta2; the range moves with the cube root of probe.lr; {L2}",
        denominator="epsearch.optimizers.denominators:madgrad",
        keywords=lambda beta1, _beta2: {"momentum": beta1},
        takes=("lr", "eps"),
        eps=1e-6,
    ),
    "eadam": OptimizerRow(
        path="epsearch.optimizers.eadam:EAdam",
        eps_enters="inside the root: α / √(v̂ + ε/(1-β₂)); compared with (1-β₂) v̂",
        note=L2,
        denominator="epsearch.optimizers.denominators:eadam",
    ),
    "adamomentum": OptimizerRow(
        path="epsearch.optimizers.adamomentum:AdaMomentum",
        eps_enters="inside the root: α / √(v̂ + ε/(1-β₂)); compared with (1-β₂) v̂",
        note=f"v is of the momentum, not of the gradient; {L2}",
        denominator="epsearch.optimizers.denominators:adamomentum",
    ),
    # Not in Table 5.
    "adamw": OptimizerRow(
        path="torch.optim.adamw:AdamW",
        eps_enters="outside the root: α / (√v̂ + ε)",
        note="decoupled weight decay, 0.01 by default, which does not enter v",
        denominator="epsearch.optimizers.denominators:adam",
        weight_decay=0.01,
    ),
    "amsgrad": OptimizerRow(
        path="torch.optim.adam:Adam",
        eps_enters="outside the root: α / (√v̂ + ε), v is its running maximum",
        note=f"Adam(amsgrad=True); {L2}",
        denominator="epsearch.optimizers.denominators:adam",
        keywords=lambda beta1, beta2: {"betas": (beta1, beta2), "amsgrad": True},
    ),
    "nadam": OptimizerRow(
        path="torch.optim.nadam:NAdam",
        eps_enters="outside the root: α / (√v̂ + ε)",
        note=L2,
        denominator="epsearch.optimizers.denominators:second_moment",
    ),
    "radam": OptimizerRow(
        path="torch.optim.radam:RAdam",
        eps_enters="outside the root, before bias correction: α √(1-β₂ᵗ) / (√v + ε)",
        note=f"does not adapt in its first steps; {L2}",
        denominator="epsearch.optimizers.denominators:radam",
    ),
    "adamax": OptimizerRow(
        path="torch.optim.adamax:Adamax",
        eps_enters="inside the maximum: α / u, u = max(β₂ u, |g| + ε)",
        note=f"probe with a small eps: gradients below 1e-7 of it are rounded away; {L2}",
        denominator="epsearch.optimizers.denominators:adamax",
    ),
    "yogi": OptimizerRow(
        path="epsearch.optimizers.yogi:Yogi",
        eps_enters="outside the root: α / (√v̂ + ε)",
        note=f"v starts at initial_accumulator=1e-6, which smaller g² hardly change; {L2}",
        denominator="epsearch.optimizers.denominators:second_moment",
        eps=1e-3,
    ),
    "lamb": OptimizerRow(
        path="epsearch.optimizers.lamb:LAMB",
        eps_enters="outside the root: m̂ / (√v̂ + ε), then rescaled per tensor to the norm of its weights",
        note="a large eps gives normalized momentum, not α/ε; weight decay is rescaled too and does not enter v",
        denominator="epsearch.optimizers.denominators:lamb",
        eps=1e-6,
    ),
    # Dampening = momentum makes b an exponential moving average (Eq. 5 with μ = γ = β₁), so that its lr
    # compares directly with α/ε of an immutable Adam. It is a baseline, so it is not probed.
    "sgd_momentum": OptimizerRow(
        path="torch.optim.sgd:SGD",
        eps_enters="not used",
        note="Eqs. 5 and 6 with momentum = dampening = beta1: what Adam becomes at large eps, at lr = α/ε",
        denominator=None,
        keywords=lambda beta1, _beta2: {"momentum": beta1, "dampening": beta1},
        takes=("lr",),
        eps=None,
    ),
}

ADAPTIVE = [name for name, row in OPTIMIZERS.items() if row.denominator is not None]
BASELINES = [name for name, row in OPTIMIZERS.items() if row.denominator is None]
