"""What is trained: the declarative protocol, and the workloads that a study file can name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object, raised
from epsearch.registry.workloads import WORKLOADS

if TYPE_CHECKING:
    import torch

    from epsearch.study.config import StudyConfig
    from epsearch.study.schema.workload import WorkloadSection


class Workload(Protocol):
    """Model, data and loss; the loop is epsearch's.

    Random numbers are seeded before `model()` and before `train_batches(epoch)`, so that every cell of a seed
    starts from the same weights and sees the same batches in the same order.
    """

    def model(self) -> torch.nn.Module:
        """A freshly initialised model, on any device."""

    def train_batches(self, epoch: int) -> Iterable[Any]:
        """The training batches of an epoch: tensors, or tuples, lists or dicts of them."""

    def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        """The training loss of a batch, a scalar tensor."""

    def evaluate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Metrics by name on held-out data; called in eval mode and without gradients."""


def create_workload(
    config: StudyConfig, device: torch.device, user_object: Callable[[], Workload] | Workload | None = None
) -> Workload:
    """The study's workload: the one it names, or the user's object (a class or function is called).

    Raises:
        UserError: the user's object cannot be made or lacks a method; the dataset is not there.
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
    """The parts of the dataset that a study names; its `path`, if it takes one, is below the study's folder.

    Raises:
        UserError: it is not there and cannot be downloaded, or is not what it should be.
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
    """The function that makes the model a study names; what it takes is the kind's to say."""
    kind, name = WORKLOADS[section.name or ""], section.model or ""
    for prefix, model in kind.families.items():
        if name.startswith(prefix):
            return functools.partial(load_object(model.make), name.removeprefix(prefix))
    make: Callable[..., torch.nn.Module] = load_object(kind.models[name].make)
    return make
