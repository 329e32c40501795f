"""The cells that a grid with lr: auto adds where its best lr is at an edge. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from epsearch.records.epsilon import half_decade
from epsearch.study.box import HIGHEST, LOWEST

STEPS = 2
"""Half decades that are added at once."""


def beyond(cells: Sequence[Mapping[str, float]], best: Mapping[str, float]) -> list[dict[str, float]]:
    """The cells beyond `best`, one of `cells`, if its lr is the lowest or highest of those at its ε; else none.

    These are the next half decades of lr on that side, at its ε and at both neighboring ε, the nearest first.
    """
    rates: dict[float, set[float]] = {}
    for cell in cells:
        rates.setdefault(cell["eps"], set()).add(cell["lr"])
    at_best = rates[best["eps"]]
    if best["lr"] not in (edges := (min(at_best), max(at_best))):
        return []
    side, edge = (-1, min) if best["lr"] == edges[0] else (1, max)
    epsilons = sorted(rates)
    index = epsilons.index(best["eps"])
    near = [best["eps"], *epsilons[max(0, index - 1) : index], *epsilons[index + 1 : index + 2]]
    # β₂, if the optimizer has one.
    others = dict.fromkeys(tuple(pair for pair in cell.items() if pair[0] not in ("lr", "eps")) for cell in cells)
    found = [
        {"lr": half_decade(round(2 * math.log10(edge(rates[eps]))) + side * step), "eps": eps, **dict(other)}
        for step in range(1, STEPS + 1)
        for eps in near
        for other in others
    ]
    within = [cell for cell in found if LOWEST <= cell["lr"] <= HIGHEST]
    return within if any(cell["eps"] == best["eps"] for cell in within) else []
