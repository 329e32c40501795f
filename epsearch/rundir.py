"""The run directory: one driver at a time, one study for good."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from epsearch.config import StudyConfig, identity
from epsearch.errors import UserError
from epsearch.records import write_atomically
from epsearch.studyfile import load_study, to_yaml

HEADER = "# The study of this run directory, every default written out: epsearch wrote this file.\n"


class RunDirectory:
    """`study.yaml` (resolved), `probe.json`, `study.db`, `trials.csv`, `report.html`, `figures/`, `logs/`.

    And `histograms/`, where the study records them, and `checkpoints/` of trials under way.
    """

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

    def history(self, number: int) -> Path:
        """Where the searched arm's trial of this number has its history of ẑ."""
        return self.path / "histograms" / f"trial-{number}.json"

    def checkpoint(self, optimizer: str, number: int) -> Path:
        """Where the trial of this arm and number keeps what it needs to go on; those that retry it do too."""
        return self.path / "checkpoints" / f"{optimizer}-{number}.pt"

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
            raise self._unusable(error) from error
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
            try:
                write_atomically(self.study, HEADER + to_yaml(config))
            except OSError as error:
                raise self._unusable(error) from error
            yield

    def load(self) -> StudyConfig:
        """The study that was run here.

        Raises:
            UserError: no study was.
        """
        if not self._is_run():
            below = self.path.glob("*/study.yaml") if os.path.isdir(self.path) else ()
            there = sorted(str(found.parent) for found in below)
            hint = f" Did you mean {there[0]}?" if there else ""
            raise UserError(f"{self.path}: is no run directory: it has no study.yaml that epsearch wrote.{hint}")
        return load_study(self.study)

    def _unusable(self, error: OSError) -> UserError:
        reason = "it is a file" if os.path.isfile(self.path) else error.strerror
        return UserError(f"{self.path}: cannot be used as a run directory ({reason}); name another with --dir DIR.")

    def _is_run(self) -> bool:
        """Whether `study.yaml` is a run's record; it may also be the study file that someone is writing."""
        try:
            with self.study.open(encoding="utf-8", errors="replace") as file:
                return file.readline() == HEADER
        except OSError:
            return False

    def _holds_results(self) -> bool:
        """Whether a probe or a trial was begun here; those in another storage carry the identity of their study."""
        database = self.path / "study.db"
        if self.probe.exists() or not database.exists():
            return self.probe.exists()
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
            try:
                return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM studies)").fetchone()[0])
            except sqlite3.OperationalError:  # killed before the tables were made
                return False

    def _refuse_changes(self, config: StudyConfig) -> None:
        """Two studies in one directory would mix their trials, and a study file of the user's would be lost."""
        if not self._is_run():
            raise UserError(
                f"{self.study}: is a study file, which this run would overwrite; name another directory with --dir DIR."
            )
        if not self._holds_results():
            # A first run that ended at a mistake in the study file, which is mended now.
            return
        old, new = identity(load_study(self.study)), identity(config)
        # The axes are part of a sampler's identity and not of a grid's: no news where that has changed.
        resampled = old["engine.sampler"] != new["engine.sampler"]
        changed = [
            f"  {key}: was {json.dumps(old.get(key))}, is {json.dumps(new.get(key))}"
            for key in {**old, **new}
            if old.get(key) != new.get(key) and not (resampled and key.startswith("search."))
        ]
        if changed:
            raise UserError(
                f"{self.path}: holds a study that was run differently:\n" + "\n".join(changed) + "\n"
                "Undo the change to go on with it, or start another with --dir DIR or a new name."
            )
