"""Opening a storage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OPEN = "import sys; from epsearch.search.storage import open_storage; sys.stdin.read(1); open_storage(sys.argv[1])"


def test_several_open_a_new_storage_at_once(tmp_path: Path) -> None:
    """A driver, a dashboard and a report that start together all create the tables or find them."""
    for attempt in range(3):
        url = f"sqlite:///{tmp_path}/{attempt}.db"
        openers = [
            subprocess.Popen(
                [sys.executable, "-c", OPEN, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(4)
        ]
        for opener in openers:
            assert opener.stdin is not None
            opener.stdin.write("x")
            opener.stdin.flush()
        for opener in openers:
            _, errors = opener.communicate(timeout=60)
            assert opener.returncode == 0, errors
