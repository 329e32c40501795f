"""Package a study for a Ray cluster: the user's code, and the packages that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from epsearch.study.config import StudyConfig

EXCLUDED = (
    *("runs/", ".git/", ".venv/", "venv/", "__pycache__/", ".*_cache/", "*.egg-info/"),
    # Ray's sessions and packages: one below the folder would be packed into itself.
    *("session_????-??-??_??-??-??_*/", "*_ray_pkg_*"),
)
"""Files that are not code, as .gitignore patterns; the folder's own .gitignore applies too."""

REQUIREMENTS = "requirements.txt"


def needs_folder(config: StudyConfig) -> bool:
    """Whether the study needs more than its file: your own module, or data beside it."""
    section = config.workload
    beside = section.path is not None and not Path(section.path).expanduser().is_absolute()
    return section.train is not None or section.object is not None or beside


def runtime_environment(folder: Path) -> dict[str, Any]:
    """Ray's runtime environment for the code in `folder`: its files, and the packages of its requirements.txt."""
    environment: dict[str, Any] = {"working_dir": str(folder), "excludes": list(EXCLUDED)}
    if (requirements := folder / REQUIREMENTS).exists():
        environment["pip"] = str(requirements)
    return environment
