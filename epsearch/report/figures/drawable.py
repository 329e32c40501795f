"""Clamps values near the limit of floats, which overflow in plotly.js."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go

LIMIT = 1e300


def drawable(figures: Mapping[str, go.Figure], values: Iterable[float]) -> dict[str, go.Figure]:
    """The figures with every number clamped to ±`LIMIT` if one of `values` exceeds it; their texts are unchanged."""
    if all(abs(value) <= LIMIT for value in values):
        return dict(figures)
    return {name: go.Figure(_within(figure.to_plotly_json())) for name, figure in figures.items()}


def _within(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _within(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_within(value) for value in part]
    return min(max(part, -LIMIT), LIMIT) if isinstance(part, float) else part
