"""The study file as typed models: keys, types, defaults and valid combinations.

The docstring of a field is its documentation, which `epsearch schema` gives to editors.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    PrivateAttr,
    model_validator,
)

from epsearch.core.messages import clipped, shown, suggestion
from epsearch.registry.engines import ENGINES
from epsearch.registry.optimizers import OPTIMIZERS
from epsearch.registry.samplers import PRUNERS, SAMPLERS
from epsearch.registry.workloads import METRICS, WORKLOADS
from epsearch.study import space
from epsearch.study.schema.base import Bounds, Section, check_name, wrong
from epsearch.study.schema.engine import EngineSection
from epsearch.study.schema.search import ProbeSection, SearchSection, check_decades
from epsearch.study.schema.training import OF_OUR_LOOP, OptimizerSection, TrainingSection
from epsearch.study.schema.workload import MetricSection, WorkloadSection
from epsearch.study.yaml import Source


class StudyConfig(Section):
    """A study file."""

    name: str
    """The study's name, also of its run directory in runs/."""
    workload: WorkloadSection
    """What is trained, e.g. {name: vision, dataset: digits, model: mlp}."""
    optimizer: OptimizerSection = OptimizerSection()
    """The optimizer."""
    training: TrainingSection = TrainingSection()
    """How each trial is trained."""
    metric: MetricSection = MetricSection()
    """The metric of a trial."""
    probe: ProbeSection = ProbeSection()
    """The pre-search stage."""
    search: SearchSection = SearchSection()
    """The axes of the search."""
    engine: EngineSection = EngineSection()
    """How trials are scheduled and run."""

    _source: Source = PrivateAttr(default_factory=lambda: Source("the study", {}))

    @property
    def folder(self) -> Path:
        """The folder of the user's modules."""
        return Path(self.workload.folder or self._source.folder)

    def where(self, key: str) -> str:
        """A dotted key with its origin, to begin a message: `study.yaml, line 7: engine.storage`."""
        return f"{self._source.origin(tuple(key.split('.')))}: {key}"

    def without_storage(self) -> Self:
        """The study without its storage, to keep the password out of worker processes."""
        bare = self.model_copy(update={"engine": self.engine.model_copy(update={"storage": None})})
        bare._source = replace(self._source, data={})
        return bare

    @property
    def goal(self) -> Literal["maximize", "minimize"]:
        """Whether the metric is maximized or minimized."""
        return self.metric.goal or METRICS[self.metric.name]  # type: ignore[return-value]

    @property
    def has_beta2(self) -> bool:
        """Whether the optimizer takes a β₂ (AdaGrad has none)."""
        return "beta2" in OPTIMIZERS[self.optimizer.name].takes

    @property
    def needs_batches(self) -> bool:
        """Whether β₂ is auto, which needs the number of batches per epoch."""
        return self.has_beta2 and self.search.beta2 == "auto"

    @property
    def trial_epochs(self) -> int | None:
        """Epochs of one trial over all its seeds; None if the user's own code sets them."""
        return None if self.training.epochs is None else self.training.epochs * len(self.training.seeds)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """Fill in defaults that depend on the workload, before validation."""
        if not (isinstance(data, dict) and isinstance(workload := data.get("workload"), dict)):
            return data
        training, metric, name = data.get("training", {}), data.get("metric", {}), workload.get("name")
        # A custom train(run) sets its own default.
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
                "the grid runs every cell; remove trials, or choose another sampler.",
                ("engine", "trials"),
            )
        if not grid and engine.trials is None:
            raise wrong(f"{engine.sampler} needs a number of trials, e.g. trials: 40.", ("engine", "sampler"))
        if grid and search.eps == "continuous":
            raise wrong(
                "a grid has no continuous axis; write eps: grid, or choose sampler: tpe with trials: 40.",
                ("search", "eps"),
            )
        if engine.sampler == "guided" and not search.needs_probe:
            raise wrong(
                "guided searches along the ridge that the probe finds, but with eps set there is no probe; "
                "write eps: grid, or choose sampler: tpe.",
                ("engine", "sampler"),
            )
        if not SAMPLERS[engine.sampler].points:
            for key in ("eps", "lr", *(["beta2"] if self.has_beta2 else [])):
                value = getattr(search, key)
                if value in ("grid", "endpoints") or isinstance(value, list):
                    # Reported at the sampler, which the file has; the axis may be a default.
                    points = clipped(str(value), 60)
                    raise wrong(
                        f"{engine.sampler} cannot choose among given values, as search.{key}: {points} requires; "
                        f"write {key}: {'continuous' if key == 'eps' else '{low: …, high: …}'}, "
                        "or choose sampler: tpe.",
                        ("engine", "sampler"),
                    )
        self._check_engine()
        if search.lr == "auto" and not search.needs_probe:
            raise wrong(
                "auto needs the probe, which finds how the best lr changes with eps, but search.eps sets the values; "
                "write eps: grid, or give lr, e.g. lr: {low: 1e-4, high: 1e-1}.",
                ("search", "lr"),
            )
        if grid:
            for key in ("lr", "eps", "sgd_lr"):
                if isinstance(bounds := getattr(search, key), Bounds):
                    check_decades(bounds, space.decades, "powers of ten, e.g. {low: 1e-4, high: 1e-1}", key)
            if isinstance(search.beta2, Bounds):
                check_decades(search.beta2, space.beta2_decades, "0.9, 0.99, 0.999 …", "beta2")
        elif search.baselines and isinstance(search.sgd_lr, Bounds):
            # Baselines always use a grid: they need few trials.
            check_decades(search.sgd_lr, space.decades, "powers of ten, e.g. {low: 1e-3, high: 10}", "sgd_lr")
        if search.beta2 != "auto" and not self.has_beta2:
            raise wrong(f"{self.optimizer.name} has no beta2; remove it.", ("search", "beta2"))
        if self.needs_batches and not search.needs_probe and self.workload.train is not None:
            raise wrong(
                "auto counts the batches of an epoch during the probe, but with eps set there is no probe; "
                "write a number, e.g. beta2: 0.999.",
                ("search", "beta2"),
            )
        return self

    def _check_engine(self) -> None:
        """Keys and pruners that the engine would ignore are mistakes."""
        engine, row = self.engine, ENGINES[self.engine.name]
        for key in sorted({key for other in ENGINES.values() for key in other.keys} - set(row.keys)):
            # One worker is what every engine has.
            default = (EngineSection.model_fields[key].default, *([1] if key == "workers" else []))
            if getattr(engine, key) not in default:
                owners = " or ".join(name for name, other in ENGINES.items() if key in other.keys)
                raise wrong(
                    f"does not apply to the engine {engine.name}; remove it, or write name: {owners}.", ("engine", key)
                )
        owners = " or ".join(name for name, other in ENGINES.items() if engine.pruner in other.pruners)
        if owners and engine.pruner not in row.pruners:
            raise wrong(
                f"{engine.pruner} works only with the engine {owners}; write name: {owners}, or choose one of Optuna's "
                f"pruners: {', '.join(PRUNERS)}.",
                ("engine", "pruner"),
            )
        if row.assigns_gpus and self.training.device.startswith("cuda") and not engine.resources.gpu:
            raise wrong(
                f"with the engine {engine.name}, a trial sees only the GPUs that it is given here, and it is given "
                f"none; for {self.training.device} write resources: {{gpu: 1}}, or a share of one.",
                ("engine", "resources"),
            )
        if engine.pruner in PRUNERS and PRUNERS[engine.pruner].by_seed and len(self.training.seeds) < 2:
            raise wrong(
                f"{engine.pruner} compares trials seed by seed; it needs at least two, e.g. training.seeds: [0, 1, 2].",
                ("engine", "pruner"),
            )

    def _check_training(self) -> None:
        training = self.training
        if self.workload.train is not None:
            for key in OF_OUR_LOOP:
                if getattr(training, key) not in (None, False, TrainingSection.model_fields[key].default):
                    raise wrong("is for epsearch's training loop; do it in your train(run).", ("training", key))
            if training.precision in ("bfloat16", "float16"):
                raise wrong(
                    f"{training.precision} is for epsearch's training loop; use torch.autocast in your train(run).",
                    ("training", "precision"),
                )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of study files; `make schema` writes it to the package."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyConfig.model_json_schema()}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
