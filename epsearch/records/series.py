"""A measurement of ẑ as named numbers, for the loggers of a training."""

from __future__ import annotations

import functools

from epsearch.records.damping import share_taken
from epsearch.records.histogram import Histogram
from epsearch.records.probe import ProbeResult


def series(result: ProbeResult) -> dict[str, float]:
    """Names and values to log, for all elements and for each class of tensors, such as `attention_key`.

    | name | value |
    |---|---|
    | `epsearch/adaptive_fraction` | share of all elements with ẑ above the ε in use (Table 2) |
    | `epsearch/damping`, `epsearch/damping/CLASS` | mean share of the update that ε takes |
    | `epsearch/z_02/CLASS`, `z_50`, `z_98` | percentiles of ẑ, without rounding noise and exact zeros |

    Without an ε in use, only the percentiles.
    """
    values = {}
    if (eps := result.eps) is not None:
        values["epsearch/adaptive_fraction"] = result.adaptive_fraction(eps)
        pooled = functools.reduce(Histogram.merge, result.by_kind.values())
        values["epsearch/damping"] = share_taken(pooled, eps, result.root)
        for kind, taken in result.damping_by_kind(eps).items():
            values[f"epsearch/damping/{_word(kind)}"] = taken
    for kind, histogram in result.by_kind.items():
        if any(histogram.counts):
            for q in (2, 50, 98):
                values[f"epsearch/z_{q:02}/{_word(kind)}"] = histogram.percentile(q)
    return values


def _word(kind: str) -> str:
    return kind.replace(" ", "_")
