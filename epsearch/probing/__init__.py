"""The pre-search stage: one epoch of training tells the useful range of ε.

The package is not called `probe`, since importing it would put it in the place of the function `epsearch.probe`.
"""

from epsearch.probing.measure import measure
from epsearch.probing.probe import probe
from epsearch.probing.recorder import Recorder

__all__ = ["Recorder", "measure", "probe"]
