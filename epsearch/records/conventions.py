"""The same ε in the conventions of different implementations.

| convention | the update is divided by | equal to `outside` ε |
|---|---|---|
| `outside` | √v̂ + ε (Adam of Kingma and Ba 2015, torch.optim, optax, transformers) | ε |
| `hat` | √v + ε̂, before bias correction (Adam of TensorFlow and Keras; torch.optim.RAdam) | ε̂ / √(1 - β₂ᵗ) |
| `inside` | √(v̂ + ε') (`eps_root` of optax) | √ε' |
| `accumulated` | √ŝ, where ε'' is added to s at every step (AdaBelief, EAdam, AdaMomentum) | √(ε'' / (1 - β₂)) |

v̂ = v / (1 - β₂ᵗ). `outside` and `hat` agree for every gradient; the other two agree where ε is far above or far below
√v̂, and between them by a factor of at most √2.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from epsearch.core.errors import UserError

Convention = Literal["outside", "hat", "inside", "accumulated"]
"""Where an implementation adds ε to the denominator; see the table of `epsearch.records.conventions`."""


def convert_eps(
    eps: float, source: Convention, target: Convention, *, beta2: float = 0.999, step: int | None = None
) -> float:
    """ε of one convention as the ε of another that damps the same gradients.

    Args:
        eps: ε in the `source` convention, above 0.
        source: `outside` the root, as in torch.optim; `hat`, as in TensorFlow and Keras; `inside` the root;
            `accumulated` in the state, as in AdaBelief.
        target: The convention to convert to, of the same four.
        beta2: Second-moment decay β₂ of the training.
        step: t, for `hat`, whose meaning changes during the first steps; None for later steps, from about 1 / (1 - β₂).

    Raises:
        UserError: a convention is unknown, or a number is out of range.
    """
    for name in (source, target):
        if name not in get_args(Convention):
            raise UserError(
                f"convert_eps: {name!r} is not a convention; choose from {', '.join(get_args(Convention))}."
            )
    if not (0 < eps < math.inf and 0 <= beta2 < 1 and (step is None or step >= 1)):
        raise UserError(
            "convert_eps: eps must be above 0, beta2 at least 0 and below 1, and step at least 1; "
            f"found eps={eps}, beta2={beta2}, step={step}."
        )
    correction = 1.0 if step is None else math.sqrt(1 - beta2**step)
    outside = {
        "outside": eps,
        "hat": eps / correction,
        "inside": math.sqrt(eps),
        "accumulated": math.sqrt(eps / (1 - beta2)),
    }[source]
    return {
        "outside": outside,
        "hat": outside * correction,
        "inside": outside**2,
        "accumulated": (1 - beta2) * outside**2,
    }[target]
