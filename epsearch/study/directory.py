"""The run directory: one study, and one driver at a time."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from epsearch.core.environment import STORAGE_VARIABLE
from epsearch.core.errors import UserError
from epsearch.core.files import write_atomically
from epsearch.core.messages import mask_url, shown
from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeResult
from epsearch.study.config import StudyConfig
from epsearch.study.dump import to_yaml
from epsearch.study.file import in_url, load_study
from epsearch.study.identity import check_same_study, identity

HEADER = "# The study of this run directory, every default written out: epsearch wrote this file.\n"


class RunDirectory:
    """`study.yaml` (resolved), `probe.json`, `study.db`, `trials.csv`, `report.html`, `figures/`, `logs/`.

    Also `lr_test.json` if lr is auto, `histograms/` if the study records them, and `checkpoints/` of running trials.
    """

    def __init__(self, path: Path) -> None:
        # Absolute, because workers may have another working folder.
        self.path = path.resolve()

    @classmethod
    def of(cls, config: StudyConfig, path: str | Path | None = None) -> Self:
        """The run directory at `path` (default: `runs/<name>` in the working folder).

        Raises:
            UserError: the study's name cannot be a file name in this locale.
        """
        try:
            os.fsencode(config.name)
        except UnicodeEncodeError as error:
            raise UserError(
                f"{config.where('name')}: {shown(config.name)} has letters that file names in this "
                f"locale ({error.encoding}) cannot have; set PYTHONUTF8=1, or choose a name without them."
            ) from error
        return cls(Path(path) if path else Path("runs") / config.name)

    @property
    def study(self) -> Path:
        """The resolved study file."""
        return self.path / "study.yaml"

    @property
    def probe(self) -> Path:
        """The probe's result."""
        return self.path / "probe.json"

    def load_probe(self) -> ProbeResult | None:
        """The result of an earlier probe; None if there is none.

        Raises:
            UserError: the file is damaged or was edited.
        """
        return ProbeResult.load(self.probe) if self.probe.exists() else None

    @property
    def lr_test(self) -> Path:
        """The learning-rate test."""
        return self.path / "lr_test.json"

    def load_lr_test(self) -> LrTest | None:
        """An earlier learning-rate test; None if there is none.

        Raises:
            UserError: the file is damaged or was edited.
        """
        return LrTest.load(self.lr_test) if self.lr_test.exists() else None

    def history(self, number: int) -> Path:
        """The history of ẑ of a trial of the searched optimizer."""
        return self.path / "histograms" / f"trial-{number}.json"

    def checkpoint(self, optimizer: str, number: int) -> Path:
        """The checkpoint of a trial, shared with the trials that retry it."""
        return self.path / "checkpoints" / f"{optimizer}-{number}.pt"

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.path / "report.html"

    @property
    def logs(self) -> Path:
        """The workers' logs."""
        return self.path / "logs"

    def storage(self, config: StudyConfig) -> str:
        """The URL of the Optuna storage: the study's, or SQLite in this directory."""
        return config.engine.storage or f"sqlite:///{in_url(self.path)}/study.db"

    def begin_trials(self) -> None:
        """Create the checkpoints' folder, which marks that the storage has trials of this directory."""
        self.path.joinpath("checkpoints").mkdir(exist_ok=True)

    def trials_reported(self) -> int:
        """Number of trials in the last report's `trials.csv`."""
        try:
            with (self.path / "trials.csv").open(encoding="utf-8", errors="replace", newline="") as file:
                return max(0, sum(1 for _ in csv.reader(file)) - 1)
        except OSError:
            return 0

    @contextlib.contextmanager
    def taken_for(self, config: StudyConfig) -> Iterator[None]:
        """Use this directory for a run of `config`: create it, lock it, check that it has no other study.

        Raises:
            UserError: it cannot be created, another driver is using it, or it has a different study.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise self._unusable(error) from error
        with lock:
            try:
                # The kernel releases the lock however this process ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{self.path}: another epsearch process is running this study; wait for it or stop it."
                ) from error
            if self.study.exists():
                self._refuse_changes(config)
            try:
                write_atomically(self.study, HEADER + to_yaml(config))
            except OSError as error:
                raise self._unusable(error) from error
            yield

    def load(self) -> StudyConfig:
        """The study of this run directory.

        Raises:
            UserError: this is not a run directory.
        """
        if not self._is_run():
            below = self.path.glob("*/study.yaml") if os.path.isdir(self.path) else ()
            there = sorted(str(found.parent) for found in below)
            hint = f" Did you mean {there[0]}?" if there else ""
            raise UserError(f"{self.path}: is not a run directory: it has no study.yaml written by epsearch.{hint}")
        return load_study(self.study, recorded=True)

    def _unusable(self, error: OSError) -> UserError:
        reason = "it is a file" if os.path.isfile(self.path) else error.strerror
        return UserError(f"{self.path}: cannot be used as a run directory ({reason}); choose another with --dir DIR.")

    def _is_run(self) -> bool:
        """Whether epsearch wrote `study.yaml`; it may also be a user's study file."""
        try:
            with self.study.open(encoding="utf-8", errors="replace") as file:
                return file.readline() == HEADER
        except OSError:
            return False

    def _holds_results(self) -> bool:
        """Whether a probe or trial has started here. Another storage keeps the identity of its study itself."""
        database = self.path / "study.db"
        if self.probe.exists() or not database.exists():
            return self.probe.exists()
        return self._holds_study(database)

    @staticmethod
    def _holds_study(database: Path) -> bool:
        try:
            with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
                return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM studies)").fetchone()[0])
        except sqlite3.OperationalError:  # killed before the tables were created
            return False
        except sqlite3.DatabaseError:  # damaged: assume that it has results
            return True

    def _trials_begun(self) -> bool:
        """Whether this directory has trials, in whichever storage."""
        database = self.path / "study.db"
        return (
            (self.path / "checkpoints").exists()
            or self.trials_reported() > 0
            or (database.exists() and self._holds_study(database))
        )

    def _refuse_another_storage(self, config: StudyConfig) -> None:
        """Keep all trials of a directory in one storage; its report would lack those in another."""
        recorded = load_study(self.study, recorded=True)
        old, new = mask_url(self.storage(recorded)), mask_url(self.storage(config))
        if old == new:
            return
        if recorded.engine.storage is None:
            resume = f"remove engine.storage and unset {STORAGE_VARIABLE}"
        else:
            resume = f"set engine.storage, or {STORAGE_VARIABLE}, to that URL"
        raise UserError(
            f"{self.path}: the trials of this run directory are in {old}, but "
            f"{config.where('engine.storage')} is {new}. To resume, {resume}; to start another study, "
            "use --dir DIR. If the trials were moved to the new storage, "
            f"write its URL into {self.study}, engine.storage."
        )

    def _refuse_changes(self, config: StudyConfig) -> None:
        """Refuse a directory with another study or with a user's study file, which would be overwritten."""
        if not self._is_run():
            raise UserError(
                f"{self.study}: is a study file that this run would overwrite; choose another directory with --dir DIR."
            )
        if self._trials_begun():
            self._refuse_another_storage(config)
        if not self._holds_results():
            # An earlier run stopped before it computed anything, e.g. at a mistake in the study file.
            return
        recorded = load_study(self.study, recorded=True)
        old = identity(recorded)
        if "range" not in recorded.probe.model_fields_set:
            # Written by a version that had only the paper's range, which probe.json keeps.
            del old["probe.range"]
        check_same_study(
            f"{self.path}: the study in this run directory",
            old,
            identity(config),
            "Undo the change to resume it, or start another study with --dir DIR or a new name.",
        )
