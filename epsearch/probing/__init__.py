"""The pre-search stage: one training epoch finds the useful range of ε.

The package is not called `probe` because importing it would hide the function `epsearch.probe`.
"""

from epsearch.probing.measure import measure
from epsearch.probing.probe import probe
from epsearch.probing.recorder import Recorder

__all__ = ["Recorder", "measure", "probe"]
