"""What a measurement of ẑ means for the ε in use, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import label, rounded
from epsearch.records.kinds import Kind
from epsearch.records.probe import ProbeResult

TOLERANCE = 0.01
"""Share of the update below which ε counts as harmless."""

PLURALS: dict[Kind, str] = {
    "embedding": "embeddings",
    "attention query": "attention queries",
    "attention key": "attention keys",
    "attention value": "attention values",
    "attention output": "attention outputs",
    "attention": "fused attention projections",
    "MLP": "MLPs",
    "convolution": "convolutions",
    "recurrent": "recurrent layers",
    "normalization": "normalizations",
    "bias": "biases",
    "head": "head",
    "matrix": "matrices",
    "vector": "vectors",
    "other": "other tensors",
}

MOST_KINDS = 3
"""Classes named in a sentence."""

MOST_NAMES = 3
"""Tensors named in a sentence."""

SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149}
"""The smallest positive number of a dtype."""


def advice(result: ProbeResult) -> list[str]:
    """Sentences: how much of the update the ε in use takes, which ε would be harmless, and what is wrong with it."""
    eps = result.eps
    if eps is None:
        limit = result.harmless(TOLERANCE)
        sentences = [f"ε up to {_eps(limit)} takes at most {share(TOLERANCE)} of the update of any class of tensors."]
    else:
        sentences = [_standing(eps, result), *warnings(eps, result)]
    if result.noise:
        names = [one_line(name, 80) for name in result.noise[:MOST_NAMES]]
        if len(result.noise) > MOST_NAMES:
            names.append(f"{len(result.noise) - MOST_NAMES} more")
        sentences.append(f"Left out as rounding noise (gradients that are zero but for rounding): {listed(names)}.")
    return sentences


def _standing(eps: float, result: ProbeResult) -> str:
    """`ε = 1e-5 takes 38 % of the update of the embeddings and at most 0.2 % elsewhere; 1e-8 would take …`."""
    taken = result.damping_by_kind(eps)
    limit = result.harmless(TOLERANCE)
    if max(taken.values()) <= TOLERANCE:
        room = f", and so is any ε up to {_eps(limit)}" if limit > eps else ""
        where = f"at most {share(max(taken.values()))} of the update of any class of tensors"
        return f"ε = {_eps(eps)} takes {where}: it is harmless{room}."
    would = f"{_eps(limit)} would take at most {share(max(result.damping_by_kind(limit).values()))}"
    return f"ε = {_eps(eps)} takes {_by_class(taken)}; {would}."


def _by_class(taken: Mapping[Kind, float]) -> str:
    affected = sorted((kind for kind in taken if taken[kind] > TOLERANCE), key=lambda kind: -taken[kind])
    named = affected[:MOST_KINDS]
    rest = [taken[kind] for kind in taken if kind not in named]
    parts = [f"{share(taken[kind])} of the update of the {PLURALS[kind]}" for kind in named[:1]]
    parts += [f"{share(taken[kind])} of the {PLURALS[kind]}" for kind in named[1:]]
    return listed([*parts, *([f"at most {share(max(rest))} elsewhere"] if rest else [])])


def warnings(eps: float, result: ProbeResult) -> list[str]:
    """What goes wrong with this ε in the dtype of the optimizer's state."""
    dtype = str(result.settings.get("dtype") or "float32")
    smallest = SMALLEST.get(dtype, 0.0)
    state = f"{dtype}, the dtype of the optimizer's state"
    if eps <= smallest / 2:
        return [
            f"ε = {_eps(eps)} rounds to 0 in {state}: where a gradient is zero, the update is 0 / 0, NaN. "
            f"Keep the state in float32, or use an ε above {_eps(smallest)}."
        ]
    # v is stored: with a square root, ẑ below √smallest is stored as 0.
    held = math.sqrt(smallest) if result.root == 1.0 else smallest
    if eps < held:
        return [
            f"ε = {_eps(eps)} is below what {state}, can hold of ẑ: gradients below about {_eps(held)} count as zero "
            "in ẑ, and their updates are divided by ε alone. Keep the state in a wider dtype, or use a larger ε."
        ]
    return []


def share(value: float) -> str:
    """`38 %`, `0.2 %`, `< 0.01 %`."""
    if 0 < value < 1e-4:
        return "less than 0.01 %"
    return f"{float(f'{100 * value:.2g}'):g} %"


def _eps(eps: float) -> str:
    return rounded("eps", eps)


def class_rows(result: ProbeResult) -> Sequence[Sequence[str]]:
    """A table by class: class, elements, percentiles 2, 50 and 98 of ẑ, share that ε takes, harmless ε.

    Rounding noise and exact zeros are left out of the percentiles, and the share is empty without an ε in use.
    """
    eps = result.eps
    taken = result.damping_by_kind(eps) if eps is not None else {}
    harmless = result.harmless_by_kind(TOLERANCE)
    rows = []
    for kind, histogram in result.by_kind.items():
        elements = sum(layer.numel for layer in result.layers if layer.kind == kind)
        measured = any(histogram.counts)
        rows.append(
            [
                kind,
                f"{elements:,}",
                *(label("eps", float(f"{histogram.percentile(q):.1e}")) if measured else "" for q in (2, 50, 98)),
                share(taken[kind]) if kind in taken else "",
                _eps(harmless[kind]) if measured else "",
            ]
        )
    return rows


CLASS_COLUMNS = ("class", "elements", "2 % of ẑ below", "half below", "98 % below", "ε takes", "harmless ε")
"""The columns of `class_rows`."""
