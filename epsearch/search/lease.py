"""Ensure that each study in a storage has one driver at a time, across directories and machines.

A row of an extra table names the driver. Drivers claim it by compare-and-swap, which every database does atomically,
and renew it while they run. Times are the database's.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.storages import BaseStorage

from epsearch.core.errors import StudyError, UserError
from epsearch.core.messages import mask_url
from epsearch.records.listener import Listener
from epsearch.search.driver import Driver
from epsearch.search.patient_storage import PatientStorage
from epsearch.search.storage import cannot_be_opened
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory

RENEW_SECONDS = 10.0
FENCE_SECONDS = 15.0
"""After this long without a renewal, a driver checks that it still holds the lease before it writes."""
LAPSE_SECONDS = 60
"""After this long without a renewal, any driver may claim the lease."""

LEASES = sa.Table(
    "epsearch_leases",
    sa.MetaData(),
    sa.Column("study", sa.String(512), primary_key=True),
    sa.Column("token", sa.String(36), nullable=False),
    sa.Column("renewed", sa.BigInteger, nullable=False),
    sa.Column("driver", sa.Text, nullable=False),
)
"""One row per running study: its driver as JSON, and the database time in seconds of the last renewal."""


class Lease:
    """A driver's claim to a study. A driver that loses its lease stops.

    Raises:
        StudyError: on every write to the storage, after another driver has taken over.
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
        """Become the study's driver; return the driver that it replaces if that one may still be running.

        Raises:
            UserError: another driver holds the lease.
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
                    # Its driver may have woken up and renewed it since.
                    claim = claim.where(LEASES.c.renewed == row.renewed)
            now = _clock()
            try:
                with self._engine.begin() as connection:
                    done = connection.execute(claim)
                    # Database drivers do not count inserted rows; a competing INSERT raises IntegrityError.
                    won = row is None or done.rowcount == 1
            except sa.exc.IntegrityError:
                won = False
            if won:
                self._renewed = now
                return still_running

    def check(self) -> None:
        """Check that this process may write.

        Raises:
            StudyError: another driver has taken the study over.
        """
        if self._lost is None and _clock() - self._renewed > FENCE_SECONDS:
            self._renew()
        if self._lost is not None:
            raise StudyError(self._lost)

    def keep(self) -> None:
        """Renew until `release`. If the lease is lost, interrupt the driver, which may be waiting for its workers."""
        while not self._ended.wait(RENEW_SECONDS):
            # The database may be back before the lease expires.
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._renew()
            if self._lost is not None:
                if self._in_main_thread and not self._ended.is_set():
                    _interrupt_main_thread()
                return

    def guard_storage(self) -> None:
        """Check this lease before every write to the storage."""
        self._storage.guard = self.check

    @property
    def lost(self) -> str | None:
        """Why this driver must stop; None while it holds the lease."""
        return self._lost

    def release(self) -> None:
        """Give up the lease."""
        self._ended.set()
        # If this fails, the lease expires.
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
            # Another driver may have created it in the meantime.
            if not sa.inspect(self._engine).has_table(LEASES.name):
                raise

    def _now(self) -> sa.Label[int]:
        """The database's clock in seconds: the clocks of the drivers' machines may differ."""
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
    """Within, this process holds the lease of the study in this storage.

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


def _interrupt_main_thread() -> None:
    """As Ctrl-C does; a background job of a shell ignores SIGINT, but not SIGTERM, which the command line handles."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            return


def _clock() -> float:
    """A monotonic clock that also counts the time a machine sleeps, where available."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
