"""The data that passes between the stages, saved as JSON. Imports neither torch, optuna nor ray.

Notation (paper -> here): α `lr`; ε `eps`; β₁, β₂ `beta1`, `beta2`; ẑ the denominator term `z` that ε is
compared with (√v̂ for Adam; Table 5 for others); ε_lower, ε_upper `EpsilonRange.lower`, `.upper` (Algorithm 2).
"""

from epsearch.records.base import Record
from epsearch.records.epsilon import EpsilonRange, power_of_ten
from epsearch.records.histogram import BINS_PER_DECADE, Histogram
from epsearch.records.outcome import Outcome
from epsearch.records.probe import EpochReading, Layer, ProbeHistory, ProbeResult
from epsearch.records.trial import FAILURES, Cell, Ending, Goal, Trial, TrialState, best_trial

__all__ = [
    "BINS_PER_DECADE",
    "FAILURES",
    "Cell",
    "Ending",
    "EpochReading",
    "EpsilonRange",
    "Goal",
    "Histogram",
    "Layer",
    "Outcome",
    "ProbeHistory",
    "ProbeResult",
    "Record",
    "Trial",
    "TrialState",
    "best_trial",
    "power_of_ten",
]
