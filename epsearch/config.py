"""study.yaml as typed models, and the one message a wrong study file gets.

The docstring under each field is its documentation: `epsearch schema` publishes it to editors.
"""

from __future__ import annotations

import difflib
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
from epsearch.optimizers.table import ADAPTIVE, BASELINES
from epsearch.workloads.table import AUGMENTATIONS, DATASETS, METRICS, MODELS, WORKLOADS
from epsearch.yamlfile import KeyPath, Source, parse_value, read_yaml

STORAGE_VARIABLE = "EPSEARCH_STORAGE"
"""Environment variable that overrides `engine.storage`: where a password should not stand in a file."""


def wrong(message: str, at: KeyPath = ()) -> PydanticCustomError:
    """A validation error with our own words; `at` names a key below the model that raises it."""
    return PydanticCustomError("epsearch", "{message}", {"message": message, "at": at})


def suggestion(found: object, allowed: Iterable[str]) -> str:
    """`Did you mean "adam"? There are: …` for a misspelt name."""
    names = list(allowed)
    near = difflib.get_close_matches(str(found), names, n=1, cutoff=0.6)
    return (f'Did you mean "{near[0]}"? ' if near else "") + f"There are: {', '.join(names)}."


def _named(kind: str, names: Sequence[str]) -> Any:
    """A text that must be one of `names`."""

    def check(value: str) -> str:
        if value not in names:
            raise wrong(f'no {kind} called "{value}". {suggestion(value, names)}')
        return value

    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(names)})]


Positive = Annotated[FiniteFloat, Field(gt=0)]
Momentum = Annotated[FiniteFloat, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


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
        if self.low >= self.high:
            raise wrong(f"low ({self.low:g}) must be below high ({self.high:g}); for one value write {self.low:g}.")
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
    return "keyword" if isinstance(value, str) else "number"


def _axis(number: Any, bounds: type[Bounds], *keywords: str) -> Any:
    """A keyword, a number, a list of numbers, or bounds."""
    form: Any = Annotated[number, Tag("number")]
    form |= Annotated[Annotated[list[number], Field(min_length=1), AfterValidator(_distinct)], Tag("list")]
    form |= Annotated[bounds, Tag("bounds")]
    word = _named("choice", keywords) if keywords else Annotated[FiniteFloat, Field()]
    form |= Annotated[word, Tag("keyword")]
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
            if not re.fullmatch(r"[\w.]+:[\w.]+", path):
                raise wrong(f'"{path}" is no "module:name", e.g. my_package.my_module:{given[0]}.', (given[0],))
            return self
        for key, table in (("dataset", DATASETS), ("model", MODELS)):
            value, names = getattr(self, key), table[self.name]
            if value is None:
                raise wrong(f"the workload {self.name} needs a {key}. There are: {', '.join(names)}.")
            if value not in names:
                raise wrong(f'no {key} called "{value}". {suggestion(value, names)}', (key,))
        return self


class OptimizerSection(Section):
    """The adaptive optimizer whose lr, eps and beta2 are searched."""

    name: _named("optimizer", ADAPTIVE) = "adam"  # type: ignore[valid-type]
    """Its name in the table."""
    beta1: Momentum = 0.9
    """β₁, not searched."""
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """L2 for Adam (v sees it), decoupled for AdamW (v does not)."""


class DecaySection(Section):
    """Step decay: lr is multiplied by `factor` after each of the epochs in `at`."""

    factor: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1
    """What lr is multiplied by."""
    at: Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]
    """After how many epochs."""


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
    eps: Positive = 1e-8
    """ε while probing."""
    percentiles: Annotated[list[Annotated[FiniteFloat, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)] = [
        2,
        98,
    ]
    """Lower and upper percentile of each tensor's ẑ."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.percentiles[0] >= self.percentiles[1]:
            raise wrong(f"must ascend, e.g. [2, 98], not {self.percentiles}.", ("percentiles",))
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
    in powers of ten of 1 - beta2."""
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
    """What is trained."""
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

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def folder(self) -> Path:
        """Where the study file lies: a user's modules are found there."""
        return self._folder

    @property
    def goal(self) -> Literal["maximize", "minimize"]:
        """The metric's better direction."""
        return self.metric.goal or METRICS[self.metric.name]  # type: ignore[return-value]

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
        search, engine = self.search, self.engine
        grid = engine.sampler == "grid"
        if grid and engine.trials is not None:
            raise wrong(
                "sampler grid runs every cell; remove trials, or choose another sampler.",
                ("engine", "trials"),
            )
        if not grid and engine.trials is None:
            raise wrong(f"sampler {engine.sampler} needs a number of trials, e.g. trials: 40.", ("engine", "sampler"))
        if grid and search.eps == "continuous":
            raise wrong(
                "a grid has no continuous axis; write eps: grid, or choose sampler: tpe with trials: 40.",
                ("search", "eps"),
            )
        if not SAMPLERS[engine.sampler].points:
            for key in ("eps", "lr", "beta2"):
                value = getattr(search, key)
                if value in ("grid", "endpoints") or isinstance(value, list):
                    raise wrong(
                        f"sampler {engine.sampler} cannot choose among points; write "
                        f"{'continuous' if key == 'eps' else '{low: …, high: …}'}, or choose sampler: tpe.",
                        ("search", key),
                    )
        if engine.pruner == "wilcoxon" and len(self.training.seeds) < 2:
            raise wrong(
                "pruner wilcoxon compares trials seed by seed; give training.seeds at least two.",
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
        if search.beta2 == "auto" and not search.needs_probe and self.workload.train is not None:
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
        raise UserError("\n".join(_describe(source, detail) for detail in error.errors())) from None
    config._folder = path.resolve().parent
    return config


def _override(source: Source, override: str, origin: str | None = None) -> None:
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"--set {override}: is no KEY=VALUE, e.g. --set training.epochs=15.")
    value = text if origin else parse_value(text)
    node = source.data
    for depth, part in enumerate(path[:-1]):
        child = node.get(part)
        if child is None:
            child = {}
        elif not isinstance(child, dict):
            raise UserError(f"--set {override}: {'.'.join(path[: depth + 1])} is no mapping in {source.name}.")
        # Copied, since an anchor may have given two sections one mapping.
        node[part] = dict(child)
        node = node[part]
    node[path[-1]] = value
    for known in [known for known in source.places if known[: len(path)] == path]:
        del source.places[known]
    source.places[path] = origin or f"--set {override}"


def _describe(source: Source, detail: ErrorDetails) -> str:
    """One mistake in one line: where, which key, what was found, what is allowed."""
    loc = _real_path(source.data, detail["loc"])
    context, kind = detail.get("ctx", {}), detail["type"]
    found = detail["input"]
    shown = "an empty value" if found is None else f"{found!r:.60}"
    if kind == "epsearch":
        loc, problem = (*loc, *context["at"]), context["message"]
    elif kind == "extra_forbidden":
        allowed = _allowed_keys(loc[:-1])
        loc, problem = loc, f"no such key. {suggestion(loc[-1], allowed)}"
    elif kind == "missing":
        problem = f"this key is missing. {_description(loc)}"
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        problem = f"found {shown}, but this is a section of keys: {', '.join(_allowed_keys(loc))}."
    elif kind == "too_short":
        least = context["min_length"]
        problem = f"needs at least {least} value{'s' * (least > 1)}."
    elif kind == "string_pattern_mismatch":
        problem = f"found {shown}. {_description(loc)}"
    else:
        expected = _EXPECTED.get(kind, "").format(**context) or detail["msg"]
        problem = f"expected {expected}, found {shown}.{_number_hint(found)}"
    name = ".".join(str(part) for part in loc) or "the study"
    place = source.place(loc)
    where = f"{source.name}, {place}" if place.startswith("line") else place
    return f"{where}: {name}: {problem}"


_EXPECTED = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "list_type": "a list",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
    "too_long": "at most {max_length} values",
    "string_too_short": "text",
    "string_too_long": "at most {max_length} characters",
}


def _number_hint(found: object) -> str:
    """The remedy for a number that YAML read as text because it was quoted or has a letter too many."""
    if not isinstance(found, str):
        return ""
    try:
        return f" Write {float(found):g} without quotes." if math.isfinite(float(found)) else ""
    except ValueError:
        return ""


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


def _description(path: KeyPath) -> str:
    return " ".join(str(_section(path).get("description", "")).split())


_MAY_CHANGE = (
    "engine.workers",
    "engine.together",
    "engine.trials",
    "engine.storage",
    "training.device",
    "training.threads",
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
    return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)


def to_yaml(config: StudyConfig) -> str:
    """The resolved study as YAML, every default written out and the storage's password masked."""
    data = config.model_dump()
    data["metric"]["goal"] = config.goal
    if data["engine"]["storage"]:
        data["engine"]["storage"] = mask_password(data["engine"]["storage"])
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Leaves in one line, sections in blocks, and floats that YAML 1.1 readers take for numbers too."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # 1e-05 is a string to YAML 1.1
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _represent_float)
