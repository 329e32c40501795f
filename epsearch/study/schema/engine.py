"""The `engine` section of a study file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from epsearch.registry.engines import ENGINES
from epsearch.registry.samplers import PRUNERS, SAMPLERS, SCHEDULERS
from epsearch.study.schema.base import Count, Positive, Section, one_of, wrong


def _ray_amount(value: float) -> float:
    if value > 1 and value != int(value):
        raise wrong(f"must be a whole number above 1, or a share from 0 to 1, not {value:g}.")
    return value


def _no_client(value: str) -> str:
    if value.startswith("ray://"):
        raise wrong(
            "a Ray Client has Tune run in the cluster, away from the storage; run this command on a machine of the "
            "cluster, with address: auto."
        )
    return value


class ResourcesSection(Section):
    """What one trial is given."""

    cpu: Annotated[FiniteFloat, Field(ge=0.01), AfterValidator(_ray_amount)] = 1.0
    """CPU cores, or a share of one: two trials at 0.5 are put on one core."""
    gpu: Annotated[FiniteFloat, Field(ge=0), AfterValidator(_ray_amount)] = 0.0
    """GPUs, or a share of one: four trials at 0.25 are put on one GPU, whose memory they must share."""


class EngineSection(Section):
    """What schedules the trials."""

    name: one_of("engine", list(ENGINES)) = "optuna"  # type: ignore[valid-type]
    """optuna: worker processes of this machine. ray: Ray Tune, on this machine or on a cluster. inline: this process,
    for debugging."""
    sampler: one_of("sampler", list(SAMPLERS)) = "grid"  # type: ignore[valid-type]
    """grid, or an Optuna sampler."""
    pruner: one_of("pruner", [*PRUNERS, *SCHEDULERS]) = "none"  # type: ignore[valid-type]
    """What stops hopeless trials: an Optuna pruner; or, with ray, one of Ray Tune's schedulers (asha …)."""
    trials: Count | None = None
    """How many trials a sampler makes; a grid runs every cell."""
    workers: Count | None = None
    """Trials trained at the same time, each in its own process. Default: 1; with ray, as many as the nodes have room
    for."""
    together: Count = 1
    """Trials that one process trains in lockstep over the same batches."""
    storage: str | None = None
    """URL of the Optuna storage; SQLite in the run directory unless set. EPSEARCH_STORAGE overrides it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampler."""
    max_failures: Annotated[int, Field(ge=0, le=1000)] = 2
    """How often a run restarts a trial from its checkpoint after the trial's process or machine died: killed, out of
    memory, or a GPU error."""
    trial_timeout: Positive | None = None
    """Minutes of training, over all seeds, after which a trial is killed and marked as timed out; null: no limit."""
    address: Annotated[str, Field(min_length=1), AfterValidator(_no_client)] | None = None
    """For ray, the cluster: auto (the one that this machine is a node of) or host:port; unless given, a Ray is
    started for the run on this machine, and ended after it."""
    resources: ResourcesSection = ResourcesSection()
    """For ray, what one trial is given: {cpu: 1, gpu: 0.25}."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_keys(cls, data: Any) -> Any:
        """Earlier versions wrote `max_concurrent` for ray, beside a `workers` of 1, into every resolved study."""
        if not (isinstance(data, dict) and "max_concurrent" in data):
            return data
        limit = data["max_concurrent"]
        data = {key: value for key, value in data.items() if key != "max_concurrent"}
        if data.get("workers") in (None, 1) and (limit is not None or data.get("name") == "ray"):
            data["workers"] = limit
        return data

    @property
    def concurrent(self) -> bool:
        """Whether a trial may be asked for while others are under way."""
        workers = self.workers or ENGINES[self.name].workers
        return workers is None or workers * self.together > 1
