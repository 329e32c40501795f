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
    """A share of the training data, or the dataset's own validation part."""
    if value is None or value == "own":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 0.5:
        return float(value)
    raise wrong(
        f"expected a share of the training data from 0 to 0.5, or own, found {shown(value)}.{hint('float_type', value)}"
    )


class WorkloadSection(Section):
    """What is trained: a named workload, an object of your own, or a `train(run)` function of your own."""

    name: one_of("workload", list(WORKLOADS)) | None = None  # type: ignore[valid-type]
    """A workload of epsearch."""
    dataset: str | None = None
    """Its dataset (`epsearch list` shows them)."""
    model: str | None = None
    """Its model."""
    augment: list[one_of("augmentation", list(AUGMENTATIONS))] = []  # type: ignore[valid-type]
    """Augmentations of the training images, drawn for each image: flip, crop."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """The folder or file of a dataset of yours, from the study file's folder unless absolute."""
    image_size: Count | None = None
    """Height and width that images of a folder are scaled and cut to; not needed where all have one size."""
    level: Literal["character", "word"] | None = None
    """What a text is cut into: characters (unless given) or words."""
    bptt: Annotated[int, Field(ge=6, le=10**6)] | None = None
    """Steps through time of a language model's batch, 70 unless given; each batch's length varies around it."""
    validation: Annotated[float | str | None, BeforeValidator(_share)] = None
    """Judge trials on this share of the training data, held out, instead of on the test data: 0.1; or own, where
    the dataset comes with a validation part (Penn TreeBank)."""
    object: str | None = None
    """`module:name` of a Workload class or object of yours, found beside the study file or installed."""
    train: str | None = None
    """`module:function` of a `train(run)` function of yours."""
    folder: str | None = None
    """Where a module or a path of yours is looked for; the study file's own folder unless given."""

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
                raise wrong(f'{shown(path)} is no "module:name", e.g. my_package.my_module:{example}.', (given[0],))
            return self
        if self.folder is not None and self.path is None:
            raise wrong("is where a module or a path of yours is looked for; remove it.", ("folder",))
        kind = WORKLOADS[self.name]
        for key, names in (("dataset", kind.datasets), ("model", kind.models)):
            value = getattr(self, key)
            if value is None:
                raise wrong(f"the workload {self.name} needs a {key}. There are: {', '.join(names)}.")
            from_library = key == "model" and value.startswith(tuple(kind.families))
            if value not in names and not from_library:
                raise wrong(f"no {key} called {shown(value)}. {suggestion(value, list(names))}", (key,))
        self._check_dataset_keys(kind.keys, kind.datasets[self.dataset or ""])
        return self

    def _check_dataset_keys(self, of_kind: Sequence[str], row: Dataset) -> None:
        allowed = (*of_kind, *row.keys, *row.needs)
        for key in DATASET_KEYS:
            if getattr(self, key) and key not in allowed:
                raise wrong(f"is no key of {self.name} with the dataset {self.dataset}; remove it.", (key,))
        for key in row.needs:
            if getattr(self, key) is None:
                raise wrong(f"the dataset {self.dataset} needs a {key}: {row.note}.")
        if self.validation == "own" and not row.has_validation:
            raise wrong(
                f"{self.dataset} has no validation part of its own; write a share of its training data, e.g. 0.1.",
                ("validation",),
            )

    @property
    def reports(self) -> tuple[str, ...]:
        """The metrics of a named workload; none where your own code says them."""
        if self.name is None:
            return ()
        kind = WORKLOADS[self.name]
        return kind.datasets[self.dataset or ""].reports or kind.reports


DATASET_KEYS = ("augment", "path", "image_size", "level", "bptt", "validation")


class MetricSection(Section):
    """What a trial is judged by: the best finite value over its epochs."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "accuracy"
    """A metric that the workload reports; unless given its first one, and accuracy for your own code."""
    goal: Literal["maximize", "minimize"] | None = None
    """maximize or minimize; known for accuracy, loss and perplexity."""

    @model_validator(mode="after")
    def _goal_known(self) -> Self:
        if self.goal is None and self.name not in METRICS:
            raise wrong(f'what is better for "{self.name}" is not known; add goal: maximize or goal: minimize.')
        return self
