"""Find the ε (and lr, β₂) of an adaptive optimizer: one epoch tells the useful range, Optuna searches it.

The stages, in order: a study file (`config`) names a workload (`workloads`); the probe (`probing`) trains it for an
epoch and reads the denominator term ẑ; its percentiles are the range of ε (`space`); an engine (`engines`) runs the
trials of that constrained space; `report` draws them. `run` carries a study file through all of them; `probe` and
`measure` are the pre-search stage alone, for a script of your own; `Recorder` watches ẑ over a whole training, and so
do the callbacks for Lightning's and Hugging Face's trainers in `integrations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from epsearch.core.version import __version__ as __version__

if TYPE_CHECKING:
    from epsearch.core.errors import StudyError, UserError
    from epsearch.optimizers import Denominator, create_optimizer, register_denominator
    from epsearch.pipeline import run
    from epsearch.probing.measure import measure
    from epsearch.probing.probe import probe
    from epsearch.probing.recorder import Recorder
    from epsearch.records.epsilon import EpsilonRange
    from epsearch.records.outcome import Outcome
    from epsearch.records.probe import ProbeHistory, ProbeResult
    from epsearch.training.run import Run
    from epsearch.workloads.protocol import Workload

# Loaded when first used: `import epsearch` is quick and needs neither torch nor optuna.
_PUBLIC = {
    "Denominator": "epsearch.optimizers",
    "EpsilonRange": "epsearch.records",
    "Outcome": "epsearch.records",
    "ProbeHistory": "epsearch.records",
    "ProbeResult": "epsearch.records",
    "Recorder": "epsearch.probing.recorder",
    "Run": "epsearch.training.run",
    "StudyError": "epsearch.core.errors",
    "UserError": "epsearch.core.errors",
    "Workload": "epsearch.workloads.protocol",
    "create_optimizer": "epsearch.optimizers",
    "measure": "epsearch.probing.measure",
    "probe": "epsearch.probing.probe",
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
