"""Find the ε (and lr, β₂) of an adaptive optimizer: one epoch tells the useful range, Optuna searches it.

The stages, in order: a study file (`config`) names a workload (`workloads`); the probe (`probing`) trains it for an
epoch and reads the denominator term ẑ; its percentiles are the range of ε (`space`); an engine (`engines`) runs the
trials of that constrained space; `report` draws them. `run` carries a study file through all of them; `probe` and
`measure` are the pre-search stage alone, for a script of your own; `Recorder` watches ẑ over a whole training, and so
do the callbacks for Lightning's and Hugging Face's trainers in `integrations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epsearch.errors import StudyError, UserError
    from epsearch.optimizers import create_optimizer, register_denominator
    from epsearch.optimizers.table import Denominator
    from epsearch.pipeline import run
    from epsearch.probing.recorder import Recorder
    from epsearch.probing.run import measure, probe
    from epsearch.records import EpsilonRange, Outcome, ProbeHistory, ProbeResult
    from epsearch.training.run import Run
    from epsearch.workloads import Workload

__version__ = "0.1.0"

# Loaded when first used: `import epsearch` is quick and needs neither torch nor optuna.
_PUBLIC = {
    "Denominator": "epsearch.optimizers.table",
    "EpsilonRange": "epsearch.records",
    "Outcome": "epsearch.records",
    "ProbeHistory": "epsearch.records",
    "ProbeResult": "epsearch.records",
    "Recorder": "epsearch.probing.recorder",
    "Run": "epsearch.training.run",
    "StudyError": "epsearch.errors",
    "UserError": "epsearch.errors",
    "Workload": "epsearch.workloads",
    "create_optimizer": "epsearch.optimizers",
    "measure": "epsearch.probing.run",
    "probe": "epsearch.probing.run",
    "register_denominator": "epsearch.optimizers",
    "run": "epsearch.pipeline",
}

__all__ = [
    "Denominator",
    "EpsilonRange",
    "Outcome",
    "ProbeHistory",
    "ProbeResult",
    "Recorder",
    "Run",
    "StudyError",
    "UserError",
    "Workload",
    "create_optimizer",
    "measure",
    "probe",
    "register_denominator",
    "run",
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
