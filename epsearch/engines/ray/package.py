"""What of a study travels to the machines of a Ray cluster: one's own code, and the packages that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from epsearch.study.config import StudyConfig

EXCLUDED = (
    *("runs/", ".git/", ".venv/", "venv/", "__pycache__/", ".*_cache/", "*.egg-info/"),
    # Ray's own sessions and packages: where it makes one below the folder, it would pack it into itself without end.
    *("session_????-??-??_??-??-??_*/", "*_ray_pkg_*"),
)
"""Of a folder, what is no code (in .gitignore's words; what a .gitignore there names stays behind too)."""

REQUIREMENTS = "requirements.txt"


def needs_folder(config: StudyConfig) -> bool:
    """Whether the study is more than its file: a module of one's own, or data beside it."""
    section = config.workload
    beside = section.path is not None and not Path(section.path).expanduser().is_absolute()
    return section.train is not None or section.object is not None or beside


def runtime_environment(folder: Path) -> dict[str, Any]:
    """Ray's runtime environment for the code in `folder`: its files, and the packages of its requirements.txt."""
    environment: dict[str, Any] = {"working_dir": str(folder), "excludes": list(EXCLUDED)}
    if (requirements := folder / REQUIREMENTS).exists():
        environment["pip"] = str(requirements)
    return environment
