"""What a guided search knows before its first trial."""

from __future__ import annotations

from typing import NamedTuple

from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeResult


class Guide(NamedTuple):
    """The probe and, if there was one, the learning-rate test."""

    probe: ProbeResult
    test: LrTest | None = None
