"""Tables of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from epsearch.core.numbers import count
from epsearch.records.probe import Layer, ProbeResult


class Table(NamedTuple):
    """A table of the page; the columns in `text` are aligned as text, the others as numbers."""

    summary: str
    columns: Sequence[str]
    rows: Iterable[Sequence[str]]
    text: tuple[int, ...] = ()
    note: str = ""


def layer_table(probe: ProbeResult) -> Table:
    """What was measured of each layer."""
    low, high = probe.percentiles
    left_out = {
        "Not measured, because they had no gradient": probe.skipped,
        "Excluded by name": probe.excluded,
    }
    return Table(
        f"What the probe measured in {count(len(probe.layers), 'layer')}",
        ["layer", "class", "elements", "exact zeros", "not finite", f"{low:g} % of ẑ below", f"{high:g} % of ẑ below"],
        (_layer(layer) for layer in probe.layers),
        text=(0, 1),
        note=" ".join(f"{why}: {', '.join(names)}." for why, names in left_out.items() if names),
    )


def _layer(layer: Layer) -> list[str]:
    return [
        layer.name,
        layer.kind,
        str(layer.numel),
        str(layer.zeros),
        str(layer.nonfinite),
        "" if layer.p2 is None else f"{layer.p2:.2e}",
        "" if layer.p98 is None else f"{layer.p98:.2e}",
    ]
