"""Figures of values near the limit of floats: plotly.js reckons with them, and fails at infinity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go

LIMIT = 1e300


def drawable(figures: Mapping[str, go.Figure], values: Iterable[float]) -> dict[str, go.Figure]:
    """The figures of these values with every number moved within `LIMIT`; their texts keep the values as they are."""
    if all(abs(value) <= LIMIT for value in values):
        return dict(figures)
    return {name: go.Figure(_within(figure.to_plotly_json())) for name, figure in figures.items()}


def _within(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _within(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_within(value) for value in part]
    return min(max(part, -LIMIT), LIMIT) if isinstance(part, float) else part
