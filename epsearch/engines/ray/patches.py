"""Everything that relies on Ray's internals, with the releases it was written for.

Outside that range nothing is patched: studies run on Ray's public interface, and `unsupported` names what they lose.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import ray

OLDEST, BELOW = (2, 50), (2, 61)
"""The Ray releases that these patches are for; pyproject.toml requires the same range. Tested with 2.60."""


def release() -> tuple[int, ...]:
    """The first two numbers of Ray's version."""
    major, minor, *_ = ray.__version__.split(".")
    return int(major), int(minor)


def supported() -> bool:
    """Whether the patches are for this Ray."""
    return OLDEST <= release() < BELOW


def unsupported() -> str | None:
    """A warning for a Ray outside the range; None within it."""
    if supported():
        return None
    oldest, below = (".".join(map(str, version)) for version in (OLDEST, BELOW))
    return (
        f"Ray {ray.__version__} is outside the supported range (>={oldest},<{below}). A worker killed for memory may "
        "end the study, and trials that exceed engine.trial_timeout keep their worker until they end."
    )


@contextlib.contextmanager
def out_of_memory_as_death() -> Iterator[None]:
    """Within, Tune restarts a trial whose worker Ray killed to free memory, as it does after any other death.

    Tune handles RayActorError alone; OutOfMemoryError is not one, and would end the whole study.
    """
    if not supported():
        yield
        return
    from ray.air.execution._internal import actor_manager
    from ray.tune.execution import tune_controller

    dead = ray.exceptions.RayActorError
    modules = (actor_manager, tune_controller)
    for module in modules:
        module.RayActorError = (dead, ray.exceptions.OutOfMemoryError)
    try:
        yield
    finally:
        for module in modules:
            module.RayActorError = dead


def silence_raylet_logs() -> None:
    """Drop the paragraphs that raylets log about a worker's death: the driver prints them despite `log_to_driver`."""
    if supported():
        ray._private.worker.print_to_stdstream = lambda *_, **__: None


def kill_trial(trial: Any) -> None:
    """Kill the process of a Tune trial: a thread that hangs cannot be ended. Tune does not restart the trial."""
    trial.max_failures = 0
    if supported():
        ray.kill(trial.temporary_state.ray_actor)
