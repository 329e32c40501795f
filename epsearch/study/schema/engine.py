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
            "a Ray Client would run Tune in the cluster, away from the storage; run this command on a node of the "
            "cluster, with address: auto."
        )
    return value


class ResourcesSection(Section):
    """Resources of one trial."""

    cpu: Annotated[FiniteFloat, Field(ge=0.01), AfterValidator(_ray_amount)] = 1.0
    """CPU cores, or a share of one: with 0.5, two trials run on one core."""
    gpu: Annotated[FiniteFloat, Field(ge=0), AfterValidator(_ray_amount)] = 0.0
    """GPUs, or a share of one: with 0.25, four trials run on one GPU and share its memory."""


class EngineSection(Section):
    """How trials are scheduled and run."""

    name: one_of("engine", list(ENGINES)) = "optuna"  # type: ignore[valid-type]
    """optuna: worker processes on this machine. ray: Ray Tune, on this machine or a cluster. inline: this process, for
    debugging."""
    sampler: one_of("sampler", list(SAMPLERS)) = "grid"  # type: ignore[valid-type]
    """grid, or an Optuna sampler; `epsearch list` shows all."""
    pruner: one_of("pruner", [*PRUNERS, *SCHEDULERS]) = "none"  # type: ignore[valid-type]
    """Stops unpromising trials: an Optuna pruner, or with ray one of Ray Tune's schedulers (asha …)."""
    trials: Count | None = None
    """Number of trials of a sampler; a grid runs every cell."""
    workers: Count | None = None
    """Worker processes, i.e. trials trained at the same time. Default: 1; with ray, as many as the resources
    allow."""
    together: Count = 1
    """Trials that one process trains in lockstep on the same batches."""
    storage: str | None = None
    """URL of the Optuna storage. Default: SQLite in the run directory. EPSEARCH_STORAGE overrides it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampler."""
    max_failures: Annotated[int, Field(ge=0, le=1000)] = 2
    """How often a run restarts a trial from its checkpoint after its process or machine died: killed, out of memory,
    or a GPU error."""
    trial_timeout: Positive | None = None
    """Minutes of training, over all seeds, after which a trial is killed and marked as timed out. null: no limit."""
    address: Annotated[str, Field(min_length=1), AfterValidator(_no_client)] | None = None
    """For ray, the cluster: auto (the one this machine is a node of) or host:port. Default: start Ray on this machine
    for the duration of the run."""
    resources: ResourcesSection = ResourcesSection()
    """For ray, the resources of one trial, e.g. {cpu: 1, gpu: 0.25}."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_keys(cls, data: Any) -> Any:
        """Earlier versions wrote `max_concurrent` for ray, with `workers: 1`, into every resolved study."""
        if not (isinstance(data, dict) and "max_concurrent" in data):
            return data
        limit = data["max_concurrent"]
        data = {key: value for key, value in data.items() if key != "max_concurrent"}
        if data.get("workers") in (None, 1) and (limit is not None or data.get("name") == "ray"):
            data["workers"] = limit
        return data

    @property
    def concurrent(self) -> bool:
        """Whether several trials run at the same time."""
        workers = self.workers or ENGINES[self.name].workers
        return workers is None or workers * self.together > 1
