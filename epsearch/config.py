"""study.yaml as typed models, and the one message a wrong study file gets.

The docstring under each field is its documentation: `epsearch schema` publishes it to editors.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    PrivateAttr,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from epsearch import space
from epsearch.engines.table import PRUNERS, SAMPLERS
from epsearch.errors import UserError
from epsearch.optimizers.table import ADAPTIVE, BASELINES, OPTIMIZERS
from epsearch.workloads.table import AUGMENTATIONS, DATASETS, METRICS, MODELS, REPORTED, WORKLOADS
from epsearch.yamlfile import KeyPath, Source, parse_value, read_yaml

STORAGE_VARIABLE = "EPSEARCH_STORAGE"
"""Environment variable that overrides `engine.storage`: where a password should not stand in a file."""


def wrong(message: str, at: KeyPath = ()) -> PydanticCustomError:
    """A validation error with our own words; `at` names a key below the model that raises it."""
    return PydanticCustomError("epsearch", "{message}", {"message": message, "at": at})


def shown(value: object) -> str:
    """A value of the file as a message repeats it: in one line, and not at any length."""
    if value is None:
        return "an empty value"
    text = mask_password(repr(value).lower() if isinstance(value, bool) else repr(value))
    return text if len(text) <= 60 else f"{text[:59]}…"


def suggestion(found: object, allowed: Iterable[str]) -> str:
    """`Did you mean "adam"? There are: …` for a misspelt name."""
    names = list(allowed)
    near = difflib.get_close_matches(str(found), names, n=1, cutoff=0.6)
    there = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return (f'Did you mean "{near[0]}"? ' if near else "") + f"There are: {there}."


def _named(kind: str, names: Sequence[str]) -> Any:
    """A text that must be one of `names`."""

    def check(value: str) -> str:
        if value not in names:
            raise wrong(f"no {kind} called {shown(value)}. {suggestion(value, names)}")
        return value

    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(names)})]


Positive = Annotated[FiniteFloat, Field(gt=0)]
Momentum = Annotated[FiniteFloat, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Section(BaseModel):
    """A mapping of the study file: unknown keys, and text where a number belongs, are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Bounds(Section):
    """A range from low to high, both included."""

    low: Positive
    """Lower end, above 0."""
    high: Positive
    """Upper end."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.low == self.high:
            raise wrong(f"low and high are both {self.low:g}; for one value write {self.low:g} alone.")
        if self.low > self.high:
            raise wrong(f"low ({self.low:g}) is above high ({self.high:g}); swap them.")
        return self


class Beta2Bounds(Bounds):
    """β₂ from low to high, in powers of ten of 1 - β₂: 0.9, 0.99, 0.999 …"""

    high: Annotated[FiniteFloat, Field(gt=0, lt=1)]
    """Upper end, below 1."""


def _kind(value: object) -> str:
    """Which form of an axis was written: the tag of the model that checks it."""
    if isinstance(value, dict | Bounds):
        return "bounds"
    if isinstance(value, list):
        return "list"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "keyword"


def _axis(number: Any, bounds: type[Bounds], *keywords: str) -> Any:
    """A keyword, a number, a list of numbers, or bounds."""
    forms = ", ".join([*keywords, "a number", "a list of numbers"]) + " or {low: …, high: …}"

    def check(value: object) -> object:
        if value not in keywords:
            near = difflib.get_close_matches(str(value), keywords, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else _hint("float_type", value)
            raise wrong(f"expected {forms}, found {shown(value)}.{hint}")
        return value

    schema: dict[str, Any] = {"type": "string", "enum": list(keywords)} if keywords else {"not": {}}
    form: Any = Annotated[number, Tag("number")]
    form |= Annotated[Annotated[list[number], Field(min_length=1), AfterValidator(_distinct)], Tag("list")]
    form |= Annotated[bounds, Tag("bounds")]
    form |= Annotated[str, BeforeValidator(check), WithJsonSchema(schema), Tag("keyword")]
    return Annotated[form, Discriminator(_kind)]


def _distinct(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise wrong("lists a value twice; remove one.")
    return sorted(values)


class WorkloadSection(Section):
    """What is trained: a named workload, an object of your own, or a `train(run)` function of your own."""

    name: _named("workload", list(WORKLOADS)) | None = None  # type: ignore[valid-type]
    """A workload of epsearch."""
    dataset: str | None = None
    """Its dataset (`epsearch list` shows them)."""
    model: str | None = None
    """Its model."""
    augment: list[_named("augmentation", list(AUGMENTATIONS))] = []  # type: ignore[valid-type]
    """Augmentations of the training images, drawn for each image: flip, crop."""
    object: str | None = None
    """`module:name` of a Workload class or object of yours, found beside the study file or installed."""
    train: str | None = None
    """`module:function` of a `train(run)` function of yours."""

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
            for key in ("dataset", "model", "augment"):
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
        for key, table in (("dataset", DATASETS), ("model", MODELS)):
            value, names = getattr(self, key), table[self.name]
            if value is None:
                raise wrong(f"the workload {self.name} needs a {key}. There are: {', '.join(names)}.")
            if value not in names:
                raise wrong(f"no {key} called {shown(value)}. {suggestion(value, names)}", (key,))
        return self


class OptimizerSection(Section):
    """The adaptive optimizer whose lr, eps and beta2 are searched."""

    name: _named("optimizer", ADAPTIVE) = "adam"  # type: ignore[valid-type]
    """Its name in the table."""
    beta1: Momentum = 0.9
    """β₁, not searched; ignored where the optimizer has none."""
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """L2 or decoupled, as `epsearch list` says: L2 is part of the gradient that v sees."""


class DecaySection(Section):
    """Step decay: lr is multiplied by `factor` after each of the epochs in `at`."""

    factor: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1
    """What lr is multiplied by."""
    at: Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]
    """After how many epochs, e.g. [15]."""


class TrainingSection(Section):
    """How every trial is trained."""

    epochs: Count | None = None
    """Epochs of a trial; 20 unless your own `train(run)` names its default."""
    batch_size: Count = 128
    """Training examples in a step."""
    lr_decay: DecaySection | None = None
    """Step decay of lr."""
    precision: Literal["float32", "float64"] = "float32"
    """Number format of weights and arithmetic."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(_distinct)] = [0]
    """Each trial is trained once for each seed; its value is the mean."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 …"""
    threads: Count = 1
    """CPU threads of a trial; two trials of one thread are faster than one of two."""
    record_histograms: bool = False
    """Keep ẑ of each trial's first seed after every epoch, for the report to show how it moves (Figs. 8, 9)."""


class MetricSection(Section):
    """What a trial is judged by: the best finite value over its epochs."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "accuracy"
    """A metric that the workload reports."""
    goal: Literal["maximize", "minimize"] | None = None
    """maximize or minimize; known for accuracy, loss and perplexity."""

    @model_validator(mode="after")
    def _goal_known(self) -> Self:
        if self.goal is None and self.name not in METRICS:
            raise wrong(f'what is better for "{self.name}" is not known; add goal: maximize or goal: minimize.')
        return self


class ProbeSection(Section):
    """The pre-search stage: train briefly, read ẑ, take its percentiles (Algorithm 2)."""

    epochs: Count = 1
    """Epochs to train before reading ẑ."""
    lr: Positive = 1e-3
    """Learning rate while probing."""
    eps: Positive | None = None
    """ε while probing; the optimizer's own default (1e-8 for Adam) unless given."""
    percentiles: Annotated[list[Annotated[FiniteFloat, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)] = [
        2,
        98,
    ]
    """Lower and upper percentile of each tensor's ẑ."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.percentiles[0] >= self.percentiles[1]:
            low, high = self.percentiles
            raise wrong(f"must ascend, e.g. [2, 98], not [{low:g}, {high:g}].", ("percentiles",))
        return self


class SearchSection(Section):
    """The axes of the search."""

    eps: _axis(Positive, Bounds, "grid", "endpoints", "continuous") = "grid"  # type: ignore[valid-type]
    """grid (the powers of ten of the probed range), endpoints (its two ends), continuous (log-uniform
    between them); or a number, a list or {low, high}, which need no probe."""
    lr: _axis(Positive, Bounds) = Bounds(low=1e-4, high=1e-1)  # type: ignore[valid-type]
    """{low, high} (powers of ten for a grid, log-uniform for a sampler), a number or a list."""
    beta2: _axis(Annotated[FiniteFloat, Field(gt=0, lt=1)], Beta2Bounds, "auto") = "auto"  # type: ignore[valid-type]
    """auto (Section 4.2: the smallest 1 - 10**-k that averages over an epoch), a number, a list, or {low, high}
    in powers of ten of 1 - beta2. Not searched where the optimizer has none."""
    baselines: list[_named("baseline", BASELINES)] = []  # type: ignore[valid-type]
    """Non-adaptive arms to compare with (Fig. 5)."""
    sgd_lr: _axis(Positive, Bounds) = Bounds(low=1e-3, high=10.0)  # type: ignore[valid-type]
    """Learning rates of the baselines: α/ε of an immutable Adam, so larger than its α."""

    @property
    def needs_probe(self) -> bool:
        """Whether ε is to be found by the probe."""
        return isinstance(self.eps, str)


class EngineSection(Section):
    """What schedules the trials."""

    name: _named("engine", ["optuna"]) = "optuna"  # type: ignore[valid-type]
    """optuna: on this machine."""
    sampler: _named("sampler", list(SAMPLERS)) = "grid"  # type: ignore[valid-type]
    """grid, or an Optuna sampler."""
    pruner: _named("pruner", list(PRUNERS)) = "none"  # type: ignore[valid-type]
    """An Optuna pruner that stops hopeless trials."""
    trials: Count | None = None
    """How many trials a sampler makes; a grid runs every cell."""
    workers: Count = 1
    """Trials trained at the same time, each in a process of its own."""
    together: Count = 1
    """Trials that one process trains in lockstep over the same batches."""
    storage: str | None = None
    """URL of the Optuna storage; SQLite in the run directory unless set. EPSEARCH_STORAGE overrides it."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sampler."""


class StudyConfig(Section):
    """A study file."""

    name: str
    """The study's name, and its directory's below runs/."""
    workload: WorkloadSection
    """What is trained, e.g. {name: vision, dataset: digits, model: mlp}."""
    optimizer: OptimizerSection = OptimizerSection()
    """What it is trained with."""
    training: TrainingSection = TrainingSection()
    """How."""
    metric: MetricSection = MetricSection()
    """What a trial is judged by."""
    probe: ProbeSection = ProbeSection()
    """The pre-search stage."""
    search: SearchSection = SearchSection()
    """The axes."""
    engine: EngineSection = EngineSection()
    """What schedules the trials."""

    _source: Source = PrivateAttr(default_factory=lambda: Source("the study", {}))

    @property
    def folder(self) -> Path:
        """Where the study file lies: a user's modules are found there."""
        return self._source.folder

    def where(self, key: str) -> str:
        """A dotted key and where it stands, as a message about it begins: `study.yaml, line 7: engine.storage`."""
        return f"{self._source.place(tuple(key.split('.')))}: {key}"

    @property
    def goal(self) -> Literal["maximize", "minimize"]:
        """The metric's better direction."""
        return self.metric.goal or METRICS[self.metric.name]  # type: ignore[return-value]

    @property
    def has_beta2(self) -> bool:
        """Whether the optimizer takes a β₂ (AdaGrad has none)."""
        return "beta2" in OPTIMIZERS[self.optimizer.name].takes

    @property
    def needs_batches(self) -> bool:
        """Whether β₂ is left to its rule, which asks for the number of batches of an epoch."""
        return self.has_beta2 and self.search.beta2 == "auto"

    @property
    def trial_epochs(self) -> int | None:
        """Epochs of one trial over all its seeds; None where the user's own code says."""
        return None if self.training.epochs is None else self.training.epochs * len(self.training.seeds)

    @model_validator(mode="before")
    @classmethod
    def _default_epochs(cls, data: Any) -> Any:
        # A user's own train(run) names its own default, so only ours is filled in, and before resolving.
        if isinstance(data, dict) and isinstance(workload := data.get("workload"), dict) and "train" not in workload:
            training = data.get("training", {})
            if isinstance(training, dict) and training.get("epochs") is None and training is not None:
                return {**data, "training": {**training, "epochs": 20}}
        return data

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        _check_name(self.name)
        kind, metric = self.workload.name, self.metric.name
        if kind is not None and metric not in REPORTED[kind]:
            raise wrong(
                f"the workload {kind} reports no {shown(metric)}. {suggestion(metric, REPORTED[kind])}",
                ("metric", "name"),
            )
        search, engine = self.search, self.engine
        grid = engine.sampler == "grid"
        if grid and engine.trials is not None:
            raise wrong(
                "sampler grid runs every cell; remove trials, or choose another sampler.",
                ("engine", "trials"),
            )
        if not grid and engine.trials is None:
            raise wrong(f"{engine.sampler} needs a number of trials, e.g. trials: 40.", ("engine", "sampler"))
        if grid and search.eps == "continuous":
            raise wrong(
                "a grid has no continuous axis; write eps: grid, or choose sampler: tpe with trials: 40.",
                ("search", "eps"),
            )
        if not SAMPLERS[engine.sampler].points:
            for key in ("eps", "lr", *(["beta2"] if self.has_beta2 else [])):
                value = getattr(search, key)
                if value in ("grid", "endpoints") or isinstance(value, list):
                    # At the sampler, which must have been written; the axis may be a default.
                    raise wrong(
                        f"{engine.sampler} cannot choose among points, as search.{key}: {value} asks; write "
                        f"{key}: {'continuous' if key == 'eps' else '{low: …, high: …}'}, or choose sampler: tpe.",
                        ("engine", "sampler"),
                    )
        if engine.pruner == "wilcoxon" and len(self.training.seeds) < 2:
            raise wrong(
                "wilcoxon compares trials seed by seed; give it at least two, e.g. training.seeds: [0, 1, 2].",
                ("engine", "pruner"),
            )
        if grid:
            for key in ("lr", "eps", "sgd_lr"):
                if isinstance(bounds := getattr(search, key), Bounds):
                    _check_decades(bounds, space.decades, "powers of ten, e.g. {low: 1e-4, high: 1e-1}", key)
            if isinstance(search.beta2, Bounds):
                _check_decades(search.beta2, space.beta2_decades, "0.9, 0.99, 0.999 …", "beta2")
        elif search.baselines and isinstance(search.sgd_lr, Bounds):
            # The baselines are run over a grid whatever the sampler: they are few, and a line to compare with.
            _check_decades(search.sgd_lr, space.decades, "powers of ten, e.g. {low: 1e-3, high: 10}", "sgd_lr")
        if search.beta2 != "auto" and not self.has_beta2:
            raise wrong(f"{self.optimizer.name} has no beta2; remove it.", ("search", "beta2"))
        if self.needs_batches and not search.needs_probe and self.workload.train is not None:
            raise wrong(
                "auto counts the batches of an epoch while probing, and with eps given there is no probe; "
                "write a number, e.g. beta2: 0.999.",
                ("search", "beta2"),
            )
        return self


def _check_name(name: str) -> None:
    if not name.strip() or name != name.strip():
        raise wrong("must not be empty nor begin or end with a space.", ("name",))
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise wrong(
            f"{name!r} cannot name a run directory: no slashes, line breaks or leading dot; "
            "to run elsewhere use --dir DIR.",
            ("name",),
        )
    if len(name.encode()) > 200:
        raise wrong("is longer than a file name can be; use at most 200 bytes.", ("name",))


def _check_decades(bounds: Bounds, points: Callable[[float, float], object], example: str, key: str) -> None:
    try:
        points(bounds.low, bounds.high)
    except ValueError:
        raise wrong(
            f"the ends of a grid must be {example}, not {bounds.low:g} and {bounds.high:g}; or give a list.",
            ("search", key),
        ) from None


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file, apply `key=value` overrides, check it.

    Raises:
        UserError: one message, a line for each mistake: file and line, key, what was found, what is allowed.
    """
    path = Path(path)
    source = read_yaml(path)
    for override in overrides:
        _override(source, override)
    source.data.setdefault("name", path.stem)
    if storage := os.environ.get(STORAGE_VARIABLE):
        _override(source, f"engine.storage={storage}", STORAGE_VARIABLE)
    try:
        config = StudyConfig.model_validate(source.data)
    except ValidationError as error:
        lines = [_describe(source, detail) for detail in error.errors()]
        raise UserError("\n".join(map(mask_password, lines))) from None
    config._source = source
    return config


def _override(source: Source, override: str, origin: str | None = None) -> None:
    origin_shown = origin or f"--set {mask_password(override)}"
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"{origin_shown}: is no KEY=VALUE, e.g. --set training.epochs=15.")
    value = text if origin else parse_value(text, f"the value of --set {key}")
    node = source.data
    for depth, part in enumerate(path[:-1]):
        child = node.get(part)
        if child is None:
            child = {}
            source.places.setdefault(path[: depth + 1], origin_shown)
        elif not isinstance(child, dict):
            raise UserError(f"{origin_shown}: {'.'.join(path[: depth + 1])} is no section of {source.name}.")
        # Copied, since an anchor may have given two sections one mapping.
        node[part] = dict(child)
        node = node[part]
    node[path[-1]] = value
    for known in [known for known in source.places if known[: len(path)] == path]:
        del source.places[known]
    source.places[path] = origin_shown


def _describe(source: Source, detail: ErrorDetails) -> str:
    """One mistake in one line: where, which key, what was found, what is allowed."""
    loc = _real_path(source.data, detail["loc"])
    context, kind = detail.get("ctx", {}), detail["type"]
    found = detail["input"]
    if kind == "epsearch":
        loc, problem = (*loc, *context["at"]), context["message"]
    elif kind == "extra_forbidden":
        problem = f"no such key. {_elsewhere(loc) or suggestion(loc[-1], _allowed_keys(loc[:-1]))}"
    elif kind == "missing":
        problem = f"this key is missing. {_description(loc)}"
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        problem = (
            f"found {shown(found)}, but this is a section of keys: {', '.join(_allowed_keys(loc))}.{_hint(kind, found)}"
        )
    elif kind == "too_short":
        least = context["min_length"]
        problem = f"needs at least {least} value{'s' * (least > 1)}."
    else:
        expected = _EXPECTED.get(kind, "").format(**context, description=_description(loc).rstrip(".")) or detail["msg"]
        problem = f"expected {expected}, found {shown(found)}.{_hint(kind, found)}"
    name = ".".join(map(str, loc)) or "the study"
    return f"{source.place(loc)}: {name if name.isprintable() else repr(name)}: {problem}"


_EXPECTED = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "list_type": "a list",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:.10g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:.10g}",
    "literal_error": "{expected}",
    "too_long": "at most {max_length} values",
    "string_pattern_mismatch": "{description}",
    "string_too_short": "text",
    "string_too_long": "at most {max_length} characters",
}


def _hint(kind: str, found: object) -> str:
    """The remedy for a value of the wrong type, where it can be read off the value."""
    if found is None:
        return " Write a value, or remove the key."
    if kind == "string_type" and isinstance(found, int | float):
        return f' Write "{found}" in quotes.'
    if kind == "list_type" and isinstance(found, str | int | float):
        return f" Write [{found}]." if len(str(found)) < 60 else ""
    if kind not in ("float_type", "int_type", "int_from_float") or not isinstance(found, str | float):
        return ""
    # A number that YAML read as text: quoted, 1_000, 0,001 …; or one written with a point.
    try:
        value = float(str(found).replace(",", "."))
    except ValueError:
        return ""
    if not math.isfinite(value) or (kind != "float_type" and not value.is_integer()):
        return ""
    return f" Write {value:.15g}{' without quotes' * isinstance(found, str)}."


def _real_path(data: Any, loc: Sequence[str | int]) -> KeyPath:
    """The path in the file: pydantic's without the tags of the union members it passed."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(data, dict) and (part in data or (last and part not in ("bounds", "list", "keyword", "number"))):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif part in ("bounds", "list", "keyword", "number"):
            continue
        path.append(part)
    return tuple(path)


def _section(path: KeyPath) -> dict[str, Any]:
    """The JSON Schema of the section at `path`."""
    schema = StudyConfig.model_json_schema()
    node: dict[str, Any] = schema
    for part in path:
        node = node.get("properties", {}).get(part, {})
        choices = [node, *node.get("anyOf", []), *node.get("oneOf", [])]
        reference = next((choice["$ref"] for choice in choices if "$ref" in choice), None)
        if reference:
            node = {
                **schema["$defs"][reference.rsplit("/", 1)[1]],
                **{k: v for k, v in node.items() if k == "description"},
            }
    return node


def _allowed_keys(path: KeyPath) -> list[str]:
    return list(_section(path).get("properties", {}))


def _elsewhere(loc: KeyPath) -> str:
    """Where a key belongs that was written in the wrong place, or ran into its value."""
    key = str(loc[-1])
    if ":" in key:
        return "YAML wants a space after the colon."
    homes = [f"{section}.{key}" for section in _allowed_keys(()) if key in _allowed_keys((section,))]
    return f"Did you mean {' or '.join(homes)}?" if homes else ""


def _description(path: KeyPath) -> str:
    return " ".join(str(_section(path).get("description", "")).split())


_MAY_CHANGE = (
    "engine.workers",
    "engine.together",
    "engine.trials",
    "engine.storage",
    "training.device",
    "training.threads",
    "training.record_histograms",
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


def mask_password(url: str) -> str:
    """A storage URL with its password replaced by `***`, for everything that is printed or saved."""
    return re.sub(r"(?<=[?&]password=)[^&\s]*", "***", re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url))


def json_schema() -> dict[str, Any]:
    """The study file's JSON Schema. `python -m epsearch.config > epsearch/study.schema.json` renews the package's."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyConfig.model_json_schema()}


def to_yaml(config: StudyConfig) -> str:
    """The resolved study as YAML, every default written out and the storage's password masked."""
    data = config.model_dump()
    data["metric"]["goal"] = config.goal
    if data["engine"]["storage"]:
        data["engine"]["storage"] = mask_password(data["engine"]["storage"])
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Lists in one line, sections in blocks, and what readers of YAML 1.1 and of 1.2 take for the same."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    if value.is_integer() and abs(value) < 1e6:
        return dumper.represent_int(int(value))
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # 1e-05 is a string to YAML 1.1
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # A study named 1e-3 would read back as a number.
    style = "'" if value[:1] in "+-.0123456789" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
