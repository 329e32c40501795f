"""Whether two study files describe the same study: decided here, for run directories and for storages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from epsearch.core.errors import UserError
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
    """The settings that make the trials of a study comparable, by dotted key.

    A study resumes only if they are unchanged. The number of trials may change, and so may the machines that run them.
    A grid's axes may change too: each of its cells is a trial of its own.
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


def check_same_study(holder: str, old: Mapping[str, Any], new: Mapping[str, Any], remedy: str) -> None:
    """Check that a study with the identity `new` can resume the one that `holder` has, with the identity `old`.

    Only settings that both identities have are compared: an earlier version knew fewer, and the axes are in the
    identity of a sampler but not of a grid.

    Raises:
        UserError: a setting differs; the message lists each.
    """
    known = {_setting(key) for key in old} & {_setting(key) for key in new}
    changed = [
        f"  {key}: was {json.dumps(old.get(key))}, is {json.dumps(new.get(key))}"
        for key in {**old, **new}
        if _setting(key) in known and old.get(key) != new.get(key)
    ]
    if changed:
        raise UserError("\n".join([f"{holder} has other settings:", *changed, remedy]))


def _setting(key: str) -> str:
    """`search.lr` of `search.lr.low`: a setting has other keys below it when it is written in another form."""
    return ".".join(key.split(".")[:2])
