"""Engines that a study can name."""

from __future__ import annotations

from typing import NamedTuple


class EngineRow(NamedTuple):
    """An engine, and which keys of the section are its own."""

    path: str
    keys: tuple[str, ...]
    note: str


ENGINES: dict[str, EngineRow] = {
    "optuna": EngineRow(
        "epsearch.engines.local.engine:OptunaEngine", ("together",), "worker processes of this machine"
    ),
    "ray": EngineRow(
        "epsearch.engines.ray.engine:RayEngine",
        ("address", "resources"),
        "Ray Tune on one machine or a cluster; needs the extra epsearch[ray]",
    ),
}
