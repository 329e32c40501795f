"""Engines that a study can name: one row each."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from epsearch.registry.samplers import SCHEDULERS


class EngineRow(NamedTuple):
    """An engine.

    Attributes:
        path: `module:class`, called with the study and the folder for the workers' logs.
        note: Shown by `epsearch list`.
        keys: Keys of the `engine` section that only some engines take, of which this is one.
        pruners: Pruners that only some engines have, of which this is one.
        workers: Trials trained at the same time by default; None for as many as fit.
        assigns_gpus: Whether a trial sees only the GPUs that `engine.resources` gives it.
    """

    path: str
    note: str
    keys: tuple[str, ...] = ()
    pruners: Collection[str] = ()
    workers: int | None = 1
    assigns_gpus: bool = False


ENGINES: dict[str, EngineRow] = {
    "inline": EngineRow(
        "epsearch.engines.inline:InlineEngine",
        "trials in epsearch's own process, one after another: for debugging",
        keys=("together",),
    ),
    "optuna": EngineRow(
        "epsearch.engines.local.engine:OptunaEngine",
        "worker processes on this machine",
        keys=("workers", "together", "max_failures", "trial_timeout"),
    ),
    "ray": EngineRow(
        "epsearch.engines.ray.engine:RayEngine",
        "Ray Tune on one machine or a cluster; needs the extra epsearch[ray]",
        keys=("workers", "max_failures", "trial_timeout", "address", "resources"),
        pruners=SCHEDULERS.keys(),
        workers=None,
        assigns_gpus=True,
    ),
}
