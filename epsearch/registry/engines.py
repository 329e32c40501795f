"""Engines that a study can name."""

from __future__ import annotations

from typing import NamedTuple


class EngineRow(NamedTuple):
    """An engine, and which of the keys that not every engine takes it takes."""

    path: str
    keys: tuple[str, ...]
    note: str


ENGINES: dict[str, EngineRow] = {
    "inline": EngineRow(
        "epsearch.engines.inline:InlineEngine",
        ("together",),
        "the process of epsearch itself, one trial after another: for debugging",
    ),
    "optuna": EngineRow(
        "epsearch.engines.local.engine:OptunaEngine",
        ("workers", "together", "max_failures", "trial_timeout"),
        "worker processes of this machine",
    ),
    "ray": EngineRow(
        "epsearch.engines.ray.engine:RayEngine",
        ("workers", "max_failures", "trial_timeout", "address", "resources"),
        "Ray Tune on one machine or a cluster; needs the extra epsearch[ray]",
    ),
}
