"""Exit code 0 where this container is well: the Ray node that runs in it, if one does, says so itself."""

import sys
import urllib.request
from pathlib import Path

RAYLET = "http://127.0.0.1:52365/api/local_raylet_healthz"


def runs(name: str) -> bool:
    """Whether a process of this name runs in the container."""
    return any(file.read_text().strip() == name for file in Path("/proc").glob("[0-9]*/comm") if file.exists())


if runs("raylet"):
    with urllib.request.urlopen(RAYLET, timeout=5) as answer:
        sys.exit(b"success" not in answer.read())
