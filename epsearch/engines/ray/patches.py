"""Patches of Ray's internals, with the versions they are for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import ray
from ray.air.execution._internal import actor_manager
from ray.tune.execution import tune_controller


@contextlib.contextmanager
def out_of_memory_as_death() -> Iterator[None]:
    """Within, Tune takes a worker that Ray kills to save its node's memory for one that died.

    By itself (Ray 2.60) it knows two kinds of error, of which OutOfMemoryError is neither, and ends the whole study.
    """
    dead = ray.exceptions.RayActorError
    modules = (actor_manager, tune_controller)
    for module in modules:
        module.RayActorError = (dead, ray.exceptions.OutOfMemoryError)
    try:
        yield
    finally:
        for module in modules:
            module.RayActorError = dead
