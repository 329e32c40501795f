"""A study's workload from its registry row, or from the user's own object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object, raised
from epsearch.registry.workloads import WORKLOADS
from epsearch.workloads.protocol import Workload

if TYPE_CHECKING:
    import torch

    from epsearch.study.config import StudyConfig
    from epsearch.study.schema.workload import WorkloadSection


def create_workload(
    config: StudyConfig, device: torch.device, user_object: Callable[[], Workload] | Workload | None = None
) -> Workload:
    """Create the workload that the study names, or use the user's object (classes and functions are called).

    Raises:
        UserError: the user's object cannot be created or lacks a method, or the dataset is missing.
    """
    section = config.workload
    if user_object is None:
        workload: Workload = load_object(WORKLOADS[section.name or ""].make)(config, device)
        return workload
    where = config.where("workload.object")
    try:
        candidate = user_object() if callable(user_object) else user_object
    except Exception as error:
        raise UserError(f"{where}: {section.object}() {raised(error)}.") from error
    missing = [name for name in ("model", "train_batches", "loss", "evaluate") if not hasattr(candidate, name)]
    if missing:
        raise UserError(
            f"{where}: {section.object} has no {', '.join(missing)}; a workload has the methods "
            "model(), train_batches(epoch), loss(model, batch) and evaluate(model)."
        )
    return candidate


def load_dataset(config: StudyConfig) -> Any:
    """Load the study's dataset; a relative `path` starts at the study file's folder.

    Raises:
        UserError: the dataset is missing and cannot be downloaded, or its files are invalid.
    """
    section = config.workload
    row = WORKLOADS[section.name or ""].datasets[section.dataset or ""]
    given = {key: value for key in (*row.keys, *row.needs) if (value := getattr(section, key)) is not None}
    if "path" not in given:
        return load_object(row.load)(**given)
    given["path"] = (config.folder / given["path"]).expanduser()
    try:
        return load_object(row.load)(**given)
    except UserError as error:
        raise UserError(f"{config.where('workload.path')}: {error}") from error


def model_maker(section: WorkloadSection) -> Callable[..., torch.nn.Module]:
    """The function that builds the study's model; its arguments depend on the kind of workload."""
    kind, name = WORKLOADS[section.name or ""], section.model or ""
    for prefix, model in kind.families.items():
        if name.startswith(prefix):
            return functools.partial(load_object(model.make), name.removeprefix(prefix))
    make: Callable[..., torch.nn.Module] = load_object(kind.models[name].make)
    return make
