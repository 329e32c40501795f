"""Read study files: load, override, check."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from epsearch.core.environment import STORAGE_VARIABLE
from epsearch.core.errors import UserError
from epsearch.core.messages import clipped, mask_password, mask_url
from epsearch.study.config import StudyConfig
from epsearch.study.mistakes import describe_mistakes
from epsearch.study.yaml import Source, parse_value, read_yaml


def load_study(path: str | Path, overrides: Sequence[str] = (), *, recorded: bool = False) -> StudyConfig:
    """Read and check a study file, with `key=value` overrides.

    `recorded`: the file was written to a run directory and keeps its storage; the environment only adds the password.

    Raises:
        UserError: one message with a line for each mistake: file and line, key, value, what is allowed.
    """
    path = Path(path)
    source = read_yaml(path)
    for override in overrides:
        _override(source, override)
    source.data.setdefault("name", path.stem)
    _resolve_folder(source)
    storage = os.environ.get(STORAGE_VARIABLE)
    if storage and (not recorded or mask_url(storage) == _recorded_storage(source)):
        _override(source, f"engine.storage={storage}", STORAGE_VARIABLE)
    _resolve_sqlite(source)
    try:
        config = StudyConfig.model_validate(source.data)
    except ValidationError as error:
        raise UserError(describe_mistakes(source, error.errors())) from None
    config._source = source
    return config


def _recorded_storage(source: Source) -> str | None:
    """The masked URL of a run directory's storage; None for its own SQLite."""
    engine = source.data.get("engine")
    storage = engine.get("storage") if isinstance(engine, dict) else None
    return mask_url(storage) if isinstance(storage, str) else None


def _resolve_folder(source: Source) -> None:
    """Make the folder of the user's module or data absolute, so that the run directory's study file finds them."""
    workload = source.data.get("workload")
    if isinstance(workload, dict) and any(workload.get(key) for key in ("train", "object", "path")):
        folder = workload.get("folder")
        if folder is None or isinstance(folder, str):
            source.data["workload"] = {**workload, "folder": str((source.folder / (folder or "")).resolve())}


def _resolve_sqlite(source: Source) -> None:
    """Make the path of a SQLite database absolute, so that the run directory's study file finds it."""
    engine = source.data.get("engine")
    if not isinstance(engine, dict) or not isinstance(engine.get("storage"), str):
        return
    if found := re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!/|:|file:)(.+)", engine["storage"]):
        source.data["engine"] = {**engine, "storage": f"{found[1]}{in_url(Path.cwd())}/{found[2]}"}


def in_url(path: Path) -> str:
    """A path escaped for a URL of SQLAlchemy."""
    return str(path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def _override(source: Source, override: str, origin: str | None = None) -> None:
    origin_shown = origin or f"--set {clipped(mask_password(override), 100)}"
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"{origin_shown}: must have the form KEY=VALUE, e.g. --set training.epochs=15.")
    value = text if origin else parse_value(text, f"the value of --set {clipped(key, 100)}")
    node = source.data
    for depth, part in enumerate(path[:-1]):
        child = node.get(part)
        if child is None:
            child = {}
            source.origins.setdefault(path[: depth + 1], origin_shown)
        elif not isinstance(child, dict):
            raise UserError(
                f"{origin_shown}: {clipped('.'.join(path[: depth + 1]), 100)} is not a section of {source.name}."
            )
        # Copy: two sections may share a mapping through an anchor.
        node[part] = dict(child)
        node = node[part]
    node[path[-1]] = value
    for known in [known for known in source.origins if known[: len(path)] == path]:
        del source.origins[known]
    source.origins[path] = origin_shown
