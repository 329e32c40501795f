"""The `workload` and `metric` sections of a study file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from epsearch.core.messages import hint, shown, suggestion
from epsearch.registry.workloads import AUGMENTATIONS, METRICS, WORKLOADS, Dataset
from epsearch.study.schema.base import Count, Section, one_of, wrong


def _share(value: object) -> object:
    """Check that a value is a share of the training data, or `own` for the dataset's validation set."""
    if value is None or value == "own":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 0.5:
        return float(value)
    raise wrong(
        f"expected a share of the training data from 0 to 0.5, or own, found {shown(value)}.{hint('float_type', value)}"
    )


class WorkloadSection(Section):
    """What is trained: a named workload, your own Workload object, or your own `train(run)` function."""

    name: one_of("workload", list(WORKLOADS)) | None = None  # type: ignore[valid-type]
    """A built-in workload."""
    dataset: str | None = None
    """The workload's dataset; `epsearch list` shows all."""
    model: str | None = None
    """The workload's model; `epsearch list` shows all."""
    augment: list[one_of("augmentation", list(AUGMENTATIONS))] = []  # type: ignore[valid-type]
    """Random augmentations of the training images: flip, crop."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """Folder or file of your own dataset, relative to the study file's folder."""
    image_size: Count | None = None
    """Height and width that images of a folder are resized and cropped to; not needed if all have the same size."""
    level: Literal["character", "word"] | None = None
    """Tokens of a text: character (default) or word."""
    bptt: Annotated[int, Field(ge=6, le=10**6)] | None = None
    """Sequence length of a language model's batches, varied randomly around this value. Default: 70."""
    validation: Annotated[float | str | None, BeforeValidator(_share)] = None
    """Evaluate trials on held-out training data instead of the test data: a share such as 0.1, or own for a dataset
    with a validation set (Penn TreeBank)."""
    object: str | None = None
    """`module:name` of your own Workload class or object, next to the study file or installed."""
    train: str | None = None
    """`module:function` of your own `train(run)` function."""
    folder: str | None = None
    """Folder of your own module or path. Default: the study file's folder."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [key for key in ("name", "object", "train") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise wrong(
                f"needs exactly one of name, object and train, but has {found}; "
                "e.g. {name: vision, dataset: digits, model: mlp}."
            )
        if self.name is None:
            for key in ("dataset", "model", *DATASET_KEYS):
                if getattr(self, key):
                    raise wrong(f"belongs to a named workload, not to {given[0]}; remove it.", (key,))
            path = self.object or self.train or ""
            module, _, attribute = path.partition(":")
            if module.endswith(".py") and "/" not in module:
                raise wrong(f'names a file; write the module, "{module.removesuffix(".py")}:{attribute}".', (given[0],))
            if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", path):
                example = "train" if self.train is not None else "MyWorkload"
                raise wrong(
                    f'{shown(path)} is not of the form "module:name", e.g. my_package.my_module:{example}.', (given[0],)
                )
            return self
        if self.folder is not None and self.path is None:
            raise wrong("applies only to your own module or path; remove it.", ("folder",))
        kind = WORKLOADS[self.name]
        for key, names in (("dataset", kind.datasets), ("model", kind.models)):
            value = getattr(self, key)
            if value is None:
                raise wrong(f"the workload {self.name} needs a {key}. Choose from: {', '.join(names)}.")
            from_library = key == "model" and value.startswith(tuple(kind.families))
            if value not in names and not from_library:
                raise wrong(f"no {key} called {shown(value)}. {suggestion(value, list(names))}", (key,))
        self._check_dataset_keys(kind.keys, kind.datasets[self.dataset or ""])
        return self

    def _check_dataset_keys(self, of_kind: Sequence[str], row: Dataset) -> None:
        allowed = (*of_kind, *row.keys, *row.needs)
        for key in DATASET_KEYS:
            if getattr(self, key) and key not in allowed:
                raise wrong(f"does not apply to {self.name} with the dataset {self.dataset}; remove it.", (key,))
        for key in row.needs:
            if getattr(self, key) is None:
                raise wrong(f"the dataset {self.dataset} needs a {key}: {row.note}.")
        if self.validation == "own" and not row.has_validation:
            raise wrong(
                f"{self.dataset} has no validation set; write a share of its training data, e.g. 0.1.",
                ("validation",),
            )

    @property
    def reports(self) -> tuple[str, ...]:
        """The metrics of a named workload; empty for your own code."""
        if self.name is None:
            return ()
        kind = WORKLOADS[self.name]
        return kind.datasets[self.dataset or ""].reports or kind.reports


DATASET_KEYS = ("augment", "path", "image_size", "level", "bptt", "validation")


class MetricSection(Section):
    """The metric of a trial: its value is the best finite one over the epochs."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "accuracy"
    """A metric that the workload reports. Default: its first one, or accuracy for your own code."""
    goal: Literal["maximize", "minimize"] | None = None
    """maximize or minimize. Default: known for accuracy, loss, perplexity and r2."""

    @model_validator(mode="after")
    def _goal_known(self) -> Self:
        if self.goal is None and self.name not in METRICS:
            raise wrong(f'should "{self.name}" be maximized or minimized? Add goal: maximize or goal: minimize.')
        return self
