"""The pre-search stage: one epoch of training tells the useful range of ε.

The package is not called `probe`, since importing it would put it in the place of the function `epsearch.probe`.
"""

from epsearch.probing.recorder import Recorder
from epsearch.probing.run import measure, probe

__all__ = ["Recorder", "measure", "probe"]
