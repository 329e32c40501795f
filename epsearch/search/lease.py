"""One driver at a time for a study in a storage, whatever directory and machine it runs on.

A row of a table of our own says who runs the study. It is claimed by a compare-and-swap that any database carries out
atomically, by the database's clock, and renewed while the driver runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from optuna.storages import BaseStorage

from epsearch.core.errors import StudyError, UserError
from epsearch.core.messages import mask_url
from epsearch.records.listener import Listener
from epsearch.search.patient_storage import PatientStorage
from epsearch.search.storage import cannot_be_opened
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory

RENEW_SECONDS = 10.0
FENCE_SECONDS = 15.0
"""A driver that has not renewed its lease for so long makes sure that it still has it before it writes."""
LAPSE_SECONDS = 60
"""A lease that was not renewed for so long is anyone's."""

LEASES = sa.Table(
    "epsearch_leases",
    sa.MetaData(),
    sa.Column("study", sa.String(512), primary_key=True),
    sa.Column("token", sa.String(36), nullable=False),
    sa.Column("renewed", sa.BigInteger, nullable=False),
    sa.Column("driver", sa.Text, nullable=False),
)
"""One row for each study that is being run: whose (as JSON), and when, in the database's seconds, it was renewed."""


class Driver(NamedTuple):
    """Who runs a study."""

    host: str
    pid: int
    directory: str
    since: str
    machine: str
    """The process table that `pid` belongs to: a boot of a machine, and a container's namespace."""
    started: str
    """When the process began, in the kernel's ticks: a number may be given again."""

    @classmethod
    def this(cls, directory: Path) -> Driver:
        """The process that asks."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        pid = os.getpid()
        return cls(socket.gethostname(), pid, str(directory), since, _machine(), _started(pid))

    @classmethod
    def read(cls, row: str) -> Driver:
        """The driver of a row, which another version of epsearch may have written."""
        known = json.loads(row)
        return cls(**{name: known.get(name, "") for name in cls._fields})

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, in {self.directory}, since {self.since}"

    def is_gone(self) -> bool:
        """Whether its process is known to have ended; False where that cannot be seen from here."""
        if not self.started or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            return False
        return _started(self.pid) != self.started


class Lease:
    """A driver's claim to a study; it ends the driver that loses it.

    Raises:
        StudyError: by every write to the storage, once another driver has taken the study over.
    """

    def __init__(self, storage: BaseStorage, study: str, directory: Path, shown: str) -> None:
        backend = getattr(storage, "_backend", None)
        assert isinstance(backend, PatientStorage), "opened by open_storage"
        self._storage, self._engine = backend, backend.engine
        self._study, self._driver, self._shown = study, Driver.this(directory), shown
        self._token = str(uuid.uuid4())
        self._here = LEASES.c.study == study
        self._mine = self._here & (LEASES.c.token == self._token)
        self._renewed = 0.0
        self._lost: str | None = None
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def claim(self, *, take_over: bool) -> Driver | None:
        """Become the study's driver; the one that this takes the place of while it may still be running.

        Raises:
            UserError: another driver has it.
        """
        self._create_table()
        while True:
            with self._engine.connect() as connection:
                row = connection.execute(sa.select(LEASES, self._now()).where(self._here)).first()
            if row is None:
                claim: Any = sa.insert(LEASES).values(study=self._study, **self._row())
                still_running = None
            else:
                holder = Driver.read(row.driver)
                lapsed = row.now - row.renewed > LAPSE_SECONDS or holder.is_gone()
                if not (lapsed or take_over):
                    raise UserError(self._refusal(holder))
                still_running = None if lapsed else holder
                claim = sa.update(LEASES).where(self._here, LEASES.c.token == row.token).values(self._row())
                if lapsed:
                    # It may have come back to life since.
                    claim = claim.where(LEASES.c.renewed == row.renewed)
            now = _clock()
            try:
                with self._engine.begin() as connection:
                    done = connection.execute(claim)
                    # Of an INSERT, drivers do not count the rows; another's makes it fail.
                    won = row is None or done.rowcount == 1
            except sa.exc.IntegrityError:
                won = False
            if won:
                self._renewed = now
                return still_running

    def check(self) -> None:
        """Make sure that this process may write.

        Raises:
            StudyError: another driver has taken the study over.
        """
        if self._lost is None and _clock() - self._renewed > FENCE_SECONDS:
            self._renew()
        if self._lost is not None:
            raise StudyError(self._lost)

    def keep(self) -> None:
        """Renew until `release`; a driver that waits for its workers when it loses the lease is interrupted."""
        while not self._ended.wait(RENEW_SECONDS):
            # A database that is away for a while may be back before the lease has lapsed.
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._renew()
            if self._lost is not None:
                if self._in_main_thread and not self._ended.is_set():
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    def guard_storage(self) -> None:
        """From now on every write to the storage checks this lease."""
        self._storage.guard = self.check

    @property
    def lost(self) -> str | None:
        """Why this driver may not go on; None while it may."""
        return self._lost

    def release(self) -> None:
        """Leave the study to the next driver."""
        self._ended.set()
        # Otherwise it lapses.
        with contextlib.suppress(sa.exc.SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(sa.delete(LEASES).where(self._mine))

    def _renew(self) -> None:
        with self._lock:
            if self._lost is not None or self._ended.is_set():
                return
            began = _clock()
            with self._engine.begin() as connection:
                if connection.execute(sa.update(LEASES).where(self._mine).values(renewed=self._now())).rowcount:
                    self._renewed = began
                    return
                row = connection.execute(sa.select(LEASES).where(self._here)).first()
            by = f"by {Driver.read(row.driver)}" if row else "by another driver, which has ended"
            self._lost = (
                f'the study "{self._study}" in {self._shown} was taken over {by}. This driver has stopped and '
                "writes nothing more; finished trials are kept."
            )

    def _row(self) -> dict[str, Any]:
        return {"token": self._token, "renewed": self._now(), "driver": json.dumps(self._driver._asdict())}

    def _create_table(self) -> None:
        try:
            LEASES.create(self._engine, checkfirst=True)
        except sa.exc.DBAPIError:
            # Another driver may have made it meanwhile.
            if not sa.inspect(self._engine).has_table(LEASES.name):
                raise

    def _now(self) -> sa.Label[int]:
        """The database's clock, in seconds: those of the drivers' machines may differ."""
        seconds: Any = sa.func.unix_timestamp()
        if self._engine.name not in ("mysql", "mariadb"):
            seconds = sa.cast(sa.extract("epoch", sa.func.now()), sa.BigInteger)
        return sa.Label("now", seconds, sa.BigInteger)

    def _refusal(self, holder: Driver) -> str:
        return (
            f'name: the study "{self._study}" in {self._shown} is being run by {holder}. Wait for it to end, or '
            "choose another name. If that driver hangs, add --take-over: it stops, and this one resumes the study. "
            f"One that was killed on another machine loses the study after {LAPSE_SECONDS} seconds."
        )


@contextlib.contextmanager
def leased(
    storage: BaseStorage, config: StudyConfig, run_dir: RunDirectory, listener: Listener, *, take_over: bool = False
) -> Iterator[None]:
    """Within, this process is the one that runs the study of this name in this storage.

    Raises:
        UserError: another driver is running it, or the storage cannot be written.
        StudyError: another driver has taken it over.
    """
    url = run_dir.storage(config)
    lease = Lease(storage, config.name, run_dir.path, mask_url(url))
    try:
        ousted = lease.claim(take_over=take_over)
    except sa.exc.DBAPIError as error:
        if not isinstance(error, sa.exc.ProgrammingError) and "readonly" not in str(error.orig):
            raise
        raise UserError(cannot_be_opened(url, config.where("engine.storage"), error)) from None
    if ousted is not None:
        listener.stage(f"taking over from {ousted}, which has {FENCE_SECONDS:.0f} seconds to notice")
        time.sleep(FENCE_SECONDS + 1)
    lease.guard_storage()
    threading.Thread(target=lease.keep, daemon=True).start()
    try:
        yield
    except BaseException:
        if lease.lost is not None:
            raise StudyError(lease.lost) from None
        raise
    finally:
        lease.release()


def _clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _machine() -> str:
    """The process table that this process is in: not the host's name, which two machines may share."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process of this machine began; empty if there is none, or it cannot be seen."""
    try:
        # The second field, a name, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie has ended, though nobody has asked for its exit code yet.
    return "" if fields[0] == "Z" else fields[19]
