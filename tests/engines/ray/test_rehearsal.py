"""A study on a cluster that loses a machine and the driver, and gains a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.ray.rehearsal import rehearse
from tests.machines import need_namespaces

pytestmark = [pytest.mark.thorough, pytest.mark.alone]


@pytest.mark.timeout(900)
def test_rehearsal(tmp_path: Path) -> None:
    """The script describes what happens."""
    need_namespaces()
    rehearse(tmp_path, print)
