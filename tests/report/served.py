"""Optuna's dashboard on a storage, in a separate process, as `epsearch dashboard` runs it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def served(url: str) -> Iterator[str]:
    """The address of the dashboard on the storage `url`; on exit, interrupts it and checks that it stops quietly."""
    code = (
        "from epsearch.search.storage import open_storage; from epsearch.report.output.dashboard import serve;"
        f"serve(open_storage({url!r}, ''), port=0)"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().split()[2]
    finally:
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=30)
    assert server.returncode == 0
    assert said == ""
