"""study.yaml as typed models: its keys, their types, defaults and combinations.

The docstring under each field is its documentation: `epsearch schema` publishes it to editors.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

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
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from epsearch import space
from epsearch.engines.table import ENGINES, PRUNERS, SAMPLERS, SCHEDULERS
from epsearch.optimizers.table import ADAPTIVE, BASELINES, OPTIMIZERS
from epsearch.wording import clipped, hint, shown, suggestion
from epsearch.workloads.table import AUGMENTATIONS, METRICS, WORKLOADS, Dataset
from epsearch.yamlfile import KeyPath, Source


def wrong(message: str, at: KeyPath = ()) -> PydanticCustomError:
    """A validation error with our own words; `at` names a key below the model that raises it."""
    return PydanticCustomError("epsearch", "{message}", {"message": message, "at": at})


def _named(kind: str, names: Sequence[str]) -> Any:
    """A text that must be one of `names`."""

    def check(value: str) -> str:
        if value not in names:
            if kind == "optimizer" and (value in BASELINES or value.lower() in ("sgd", "momentum", "nesterov")):
                raise wrong(
                    f"{value} has no ε to search; keep an adaptive optimizer here, and compare it with SGD by "
                    "search.baselines: [sgd_momentum]."
                )
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
            remedy = f' Did you mean "{near[0]}"?' if near else hint("float_type", value)
            raise wrong(f"expected {forms}, found {shown(value)}.{remedy}")
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

    name: _named("workload", list(WORKLOADS)) | None = None  # type: ignore[valid-type]
    """A workload of epsearch."""
    dataset: str | None = None
    """Its dataset (`epsearch list` shows them)."""
    model: str | None = None
    """Its model."""
    augment: list[_named("augmentation", list(AUGMENTATIONS))] = []  # type: ignore[valid-type]
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
            for key in ("dataset", "model", *_DATASET_KEYS):
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
        for key in _DATASET_KEYS:
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


_DATASET_KEYS = ("augment", "path", "image_size", "level", "bptt", "validation")


class OptimizerSection(Section):
    """The adaptive optimizer whose lr, eps and beta2 are searched."""

    name: _named("optimizer", ADAPTIVE) = "adam"  # type: ignore[valid-type]
    """Its name in the table."""
    beta1: Momentum = 0.9
    """β₁, not searched; ignored where the optimizer has none."""
    weight_decay: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """L2 or decoupled, as `epsearch list` says: L2 is part of the gradient that v sees. Default: the optimizer's own,
    0.01 for adamw and 0 for the others."""

    @model_validator(mode="before")
    @classmethod
    def _own_default(cls, data: Any) -> Any:
        """The resolved study has the number."""
        if isinstance(data, dict) and data.get("weight_decay") is None:
            row = OPTIMIZERS.get(str(data.get("name", "adam")))
            return {**data, "weight_decay": row.weight_decay if row else 0.0}
        return data


class DecaySection(Section):
    """Step decay: lr is multiplied by `factor` after each of the epochs in `at`."""

    factor: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.1
    """What lr is multiplied by."""
    at: Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]
    """After how many epochs, e.g. [15]."""


def _decay_kind(value: object) -> str:
    return "bounds" if isinstance(value, dict | DecaySection) else "keyword"


def _cosine(value: object) -> object:
    if value != "cosine":
        raise wrong(f"expected cosine or {{factor: 0.1, at: [15]}}, found {shown(value)}.")
    return value


Decay = Annotated[
    Annotated[DecaySection, Tag("bounds")]
    | Annotated[str, BeforeValidator(_cosine), WithJsonSchema({"type": "string", "enum": ["cosine"]}), Tag("keyword")],
    Discriminator(_decay_kind),
]


class TrainingSection(Section):
    """How every trial is trained."""

    epochs: Count | None = None
    """Epochs of a trial; 20 unless your own `train(run)` names its default."""
    batch_size: Count = 128
    """Training examples in a batch; for a language model, texts read side by side."""
    lr_decay: Decay | None = None
    """Step decay of lr, {factor: 0.1, at: [15]}, or cosine: to zero over the epochs."""
    warmup: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Steps of the optimizer over which lr rises linearly at the start."""
    clip_norm: Positive | None = None
    """Gradients whose norm over all parameters is larger are scaled down to it."""
    accumulate: Count = 1
    """Batches whose mean gradient makes one step."""
    precision: Literal["float32", "tf32", "bfloat16", "float16", "float64"] = "float32"
    """Number format: of everything (float32, float64), of matrix products on a GPU (tf32), or of the forward and
    backward pass, with weights and optimizer in float32 (bfloat16, float16)."""
    compile: bool = False
    """Compile the model with torch.compile."""
    channels_last: bool = False
    """Store images and convolutions with their channels last, which is faster for some."""
    checkpoint_every: Annotated[FiniteFloat, Field(ge=0)] | None = 60
    """Seconds, at least, between checkpoints, which are made at the end of an epoch: a trial that was killed or lost
    goes on from its last one. 0: every epoch; null: none."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(_distinct)] = [0]
    """Each trial is trained once for each seed; its value is the mean."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 …"""
    threads: Count = 1
    """CPU threads of a trial; two trials of one thread are faster than one of two."""
    record_histograms: bool = False
    """Keep ẑ of each trial's first seed after every epoch, for the report to show how it moves (Figs. 8, 9)."""


OF_OUR_LOOP = ("lr_decay", "warmup", "clip_norm", "accumulate", "compile", "channels_last")
"""Keys of `training` that a `train(run)` of one's own cannot be given: it does these itself."""


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

    name: _named("engine", list(ENGINES)) = "optuna"  # type: ignore[valid-type]
    """optuna: worker processes of this machine. ray: Ray Tune, on this machine or on a cluster."""
    sampler: _named("sampler", list(SAMPLERS)) = "grid"  # type: ignore[valid-type]
    """grid, or an Optuna sampler."""
    pruner: _named("pruner", [*PRUNERS, *SCHEDULERS]) = "none"  # type: ignore[valid-type]
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
        if self.name == "ray":
            return self.workers != 1
        return (self.workers or 1) * self.together > 1


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
        """Where a user's modules are looked for."""
        return Path(self.workload.folder or self._source.folder)

    def where(self, key: str) -> str:
        """A dotted key and where it stands, as a message about it begins: `study.yaml, line 7: engine.storage`."""
        return f"{self._source.place(tuple(key.split('.')))}: {key}"

    def without_storage(self) -> Self:
        """The same study for a process that need not know the storage's password."""
        bare = self.model_copy(update={"engine": self.engine.model_copy(update={"storage": None})})
        bare._source = replace(self._source, data={})
        return bare

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
    def _defaults(cls, data: Any) -> Any:
        """What is filled in depends on the workload, so it is before anything is checked."""
        if not (isinstance(data, dict) and isinstance(workload := data.get("workload"), dict)):
            return data
        training, metric, name = data.get("training", {}), data.get("metric", {}), workload.get("name")
        # A user's own train(run) names its own default.
        if "train" not in workload and isinstance(training, dict) and training.get("epochs") is None:
            data = {**data, "training": {**training, "epochs": 20}}
        if isinstance(name, str) and name in WORKLOADS and isinstance(metric, dict) and metric.get("name") is None:
            row = WORKLOADS[name].datasets.get(str(workload.get("dataset")))
            reports = row.reports if row and row.reports else WORKLOADS[name].reports
            data = {**data, "metric": {**metric, "name": reports[0]}}
        return data

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        check_name(self.name)
        kind, reports, metric = self.workload.name, self.workload.reports, self.metric.name
        if kind is not None and metric not in reports:
            raise wrong(
                f"the workload {kind} reports no {shown(metric)}. {suggestion(metric, reports)}",
                ("metric", "name"),
            )
        self._check_training()
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
                    points = clipped(str(value), 60)
                    raise wrong(
                        f"{engine.sampler} cannot choose among points, as search.{key}: {points} asks; "
                        f"write {key}: {'continuous' if key == 'eps' else '{low: …, high: …}'}, "
                        "or choose sampler: tpe.",
                        ("engine", "sampler"),
                    )
        self._check_engine()
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

    def _check_engine(self) -> None:
        """Each engine has keys of its own: one that would be ignored is a mistake."""
        engine = self.engine
        for other, row in ENGINES.items():
            for key in row.keys:
                if other != engine.name and getattr(engine, key) != EngineSection.model_fields[key].default:
                    raise wrong(f"has no meaning for the engine {engine.name}; {_REMEDY[other]}.", ("engine", key))
        if engine.pruner in SCHEDULERS and engine.name != "ray":
            raise wrong(
                f"{engine.pruner} is a scheduler of Ray Tune; write engine.name: ray, or choose a pruner of Optuna's: "
                f"{', '.join(PRUNERS)}.",
                ("engine", "pruner"),
            )
        if engine.name == "ray" and self.training.device.startswith("cuda") and not engine.resources.gpu:
            raise wrong(
                f"Ray shows a trial the GPUs that it is given, and it is given none; for {self.training.device} write "
                "resources: {gpu: 1}, or a share.",
                ("engine", "resources"),
            )

    def _check_training(self) -> None:
        training = self.training
        if self.workload.train is not None:
            for key in OF_OUR_LOOP:
                if getattr(training, key) not in (None, False, TrainingSection.model_fields[key].default):
                    raise wrong("is for epsearch's own loop; do it in your train(run).", ("training", key))
            if training.precision in ("bfloat16", "float16"):
                raise wrong(
                    f"{training.precision} is for epsearch's own loop; use torch.autocast in your train(run).",
                    ("training", "precision"),
                )


def check_name(name: str) -> None:
    """Refuse a name that cannot be a directory's below runs/.

    Raises:
        PydanticCustomError: the message says why.
    """
    if not name.strip() or name != name.strip():
        raise wrong("must not be empty nor begin or end with a space.", ("name",))
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise wrong(
            f"{shown(name)} cannot name a run directory: no slashes, line breaks or leading dot; "
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


_REMEDY = {
    "optuna": "remove it: each trial has its own process there",
    "ray": "remove it, or write name: ray",
}
"""What to do about a key of this engine's, under another engine."""

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


def json_schema() -> dict[str, Any]:
    """The study file's JSON Schema. `python -m epsearch.config > epsearch/study.schema.json` renews the package's."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyConfig.model_json_schema()}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
