"""Find the ε (and lr, β₂) of an adaptive optimizer: one training epoch finds the useful range, Optuna searches it.

The stages: a study file (`study`) names a workload (`workloads`). The probe (`probing`) trains it for one epoch and
measures the denominator term ẑ, whose percentiles are the range of ε. An engine (`engines`) runs the trials of that
space, and `report` draws them. `run` goes through all stages. `probe` and `measure` are the probe alone, for your own
scripts. `Recorder` records ẑ after every epoch of a training, as do the callbacks for Lightning and Hugging Face in
`integrations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epsearch.core.version import __version__ as __version__

if TYPE_CHECKING:
    from epsearch.core.errors import StudyError, UserError
    from epsearch.inspecting.inspect import inspect
    from epsearch.optimizers import Denominator, create_optimizer, register_denominator
    from epsearch.pipeline import run
    from epsearch.probing.lr_test import lr_test
    from epsearch.probing.measure import measure
    from epsearch.probing.probe import probe
    from epsearch.probing.recorder import Recorder
    from epsearch.probing.watch import watch
    from epsearch.records.advice import advice
    from epsearch.records.conventions import convert_eps
    from epsearch.records.epsilon import EpsilonRange
    from epsearch.records.lr_test import LrTest
    from epsearch.records.outcome import Outcome
    from epsearch.records.probe import ProbeHistory, ProbeResult
    from epsearch.search.guided import GuidedSampler
    from epsearch.training.run import Run
    from epsearch.workloads.protocol import Workload

# Imported on first use: `import epsearch` is fast and loads neither torch nor optuna.
_PUBLIC = {
    "Denominator": "epsearch.optimizers",
    "EpsilonRange": "epsearch.records",
    "GuidedSampler": "epsearch.search.guided",
    "LrTest": "epsearch.records.lr_test",
    "Outcome": "epsearch.records",
    "ProbeHistory": "epsearch.records",
    "ProbeResult": "epsearch.records",
    "Recorder": "epsearch.probing.recorder",
    "Run": "epsearch.training.run",
    "StudyError": "epsearch.core.errors",
    "UserError": "epsearch.core.errors",
    "Workload": "epsearch.workloads.protocol",
    "advice": "epsearch.records.advice",
    "convert_eps": "epsearch.records.conventions",
    "create_optimizer": "epsearch.optimizers",
    "lr_test": "epsearch.probing.lr_test",
    "inspect": "epsearch.inspecting.inspect",
    "measure": "epsearch.probing.measure",
    "probe": "epsearch.probing.probe",
    "register_denominator": "epsearch.optimizers",
    "run": "epsearch.pipeline",
    "watch": "epsearch.probing.watch",
}

__all__ = [
    "Denominator",
    "EpsilonRange",
    "GuidedSampler",
    "LrTest",
    "Outcome",
    "ProbeHistory",
    "ProbeResult",
    "Recorder",
    "Run",
    "StudyError",
    "UserError",
    "Workload",
    "advice",
    "convert_eps",
    "create_optimizer",
    "inspect",
    "lr_test",
    "measure",
    "probe",
    "register_denominator",
    "run",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'epsearch' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
