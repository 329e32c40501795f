"""Whether the user's own code can be imported, before a study runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from epsearch.study.config import StudyConfig


def check_own_code(config: StudyConfig) -> None:
    """Import the user's module that the study names, in a process of its own.

    Raises:
        UserError: the module is missing, raises, or lacks the name.
    """
    from epsearch.engines.local.pool import Pool

    if config.workload.name is not None:
        return
    with tempfile.TemporaryDirectory() as logs, Pool(config, 1, Path(logs)) as pool:
        pool.call("ready")
