"""Whether two study files describe the same study."""

from __future__ import annotations

from typing import Any

from epsearch.study.config import StudyConfig

_MAY_CHANGE = (
    "workload.folder",
    "engine.name",
    "engine.address",
    "engine.resources",
    "engine.max_",
    "engine.workers",
    "engine.together",
    "engine.trials",
    "engine.trial_timeout",
    "engine.storage",
    "training.device",
    "training.threads",
    "training.record_histograms",
    "training.checkpoint_every",
)


def identity(config: StudyConfig) -> dict[str, Any]:
    """What makes a trial of this study comparable with another one, by dotted key.

    A study goes on only where these are equal. Where the work is done may change, and how many trials there
    are; and for a grid the axes too, since every cell stands for itself.
    """
    flat: dict[str, Any] = {}

    def flatten(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, child in value.items():
                flatten(f"{prefix}.{key}" if prefix else key, child)
        else:
            flat[prefix] = value

    flatten("", {**config.model_dump(mode="json"), "metric": {"name": config.metric.name, "goal": config.goal}})
    free = (*_MAY_CHANGE, "search.") if config.engine.sampler == "grid" else _MAY_CHANGE
    return {key: value for key, value in flat.items() if not key.startswith(free)}
