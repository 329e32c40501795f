"""The run directory: one driver at a time, one study for good."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from epsearch.config import StudyConfig, identity, load_study, to_yaml
from epsearch.errors import UserError
from epsearch.records import write_atomically


class RunDirectory:
    """`study.yaml` (resolved), `probe.json`, `study.db`, `trials.csv`, `report.html`, `figures/`, `logs/`."""

    def __init__(self, path: Path) -> None:
        # Workers and clusters work elsewhere.
        self.path = path.resolve()

    @property
    def study(self) -> Path:
        """The resolved study file."""
        return self.path / "study.yaml"

    @property
    def probe(self) -> Path:
        """The probe's record."""
        return self.path / "probe.json"

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.path / "report.html"

    @property
    def logs(self) -> Path:
        """What workers print."""
        return self.path / "logs"

    def storage(self, config: StudyConfig) -> str:
        """The URL of the Optuna storage: the study's, or SQLite in this directory."""
        # SQLAlchemy reads ? and # in a path as parts of the URL, and % as an escape.
        escaped = str(self.path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")
        return config.engine.storage or f"sqlite:///{escaped}/study.db"

    @contextlib.contextmanager
    def taken_for(self, config: StudyConfig) -> Iterator[None]:
        """Within, this directory is a run of `config`: made, locked, checked to hold no other study.

        Raises:
            UserError: it cannot be made, another driver is running in it, or it holds a different study.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be used as a run directory ({error.strerror}); name another with --dir DIR."
            ) from error
        with lock:
            try:
                # The kernel releases it however this process ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{self.path}: another epsearch is running this study; wait for it or end it."
                ) from error
            if self.study.exists():
                self._refuse_changes(config)
            write_atomically(self.study, to_yaml(config))
            yield

    def load(self) -> StudyConfig:
        """The study that was run here.

        Raises:
            UserError: no study was.
        """
        if not self.study.exists():
            there = sorted(str(found.parent) for found in self.path.glob("*/study.yaml"))
            hint = f" Did you mean {there[0]}?" if there else ""
            raise UserError(f"{self.path}: is no run directory: it has no study.yaml.{hint}")
        return load_study(self.study)

    def _refuse_changes(self, config: StudyConfig) -> None:
        """Two studies in one directory would mix their trials."""
        old, new = identity(load_study(self.study)), identity(config)
        changed = [
            f"  {key}: was {old.get(key)!r}, is {new.get(key)!r}"
            for key in {**old, **new}
            if old.get(key) != new.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.path}: holds a study that was run differently:\n" + "\n".join(changed) + "\n"
                "Undo the change to go on with it, or start another with --dir DIR or a new name."
            )
