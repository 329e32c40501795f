"""The pre-search stage: one epoch of training tells the useful range of ε."""

from epsearch.probe.run import measure, probe

__all__ = ["measure", "probe"]
