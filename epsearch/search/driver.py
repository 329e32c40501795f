"""Identify the process that runs a study, and detect whether it is gone."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple


class Driver(NamedTuple):
    """The process that runs a study."""

    host: str
    pid: int
    directory: str
    since: str
    machine: str
    """The process table that `pid` belongs to: a boot id, and the PID namespace of a container."""
    started: str
    """Start time of the process in kernel ticks: PIDs are reused."""

    @classmethod
    def this(cls, directory: Path) -> Driver:
        """This process."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        pid = os.getpid()
        return cls(socket.gethostname(), pid, str(directory), since, _machine(), _started(pid))

    @classmethod
    def read(cls, row: str) -> Driver:
        """The driver stored in a row, perhaps by another version of epsearch."""
        known = json.loads(row)
        return cls(**{name: known.get(name, "") for name in cls._fields})

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, in {self.directory}, since {self.since}"

    def is_gone(self) -> bool:
        """Whether its process is known to have ended; False if that cannot be determined from here."""
        if not self.started or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            return False
        return _started(self.pid) != self.started


def _machine() -> str:
    """Identify this process's table of PIDs. Host names are not unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Start time of a process of this machine; empty if there is none, or it is hidden."""
    try:
        # The second field, the command's name, may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie has ended; its parent has not yet read its exit code.
    return "" if fields[0] == "Z" else fields[19]
