"""A real PostgreSQL server (Debian's package), here or on a machine of `tests.machines`."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Here = Callable[[Sequence[str]], list[str]]
"""Makes the command line that runs a command on the server's machine."""


class PostgreSQL:
    """A server whose files are in `place`, with one user and a password.

    Where none is installed, the test is skipped; on CI it fails.
    """

    def __init__(self, place: Path, user: str, password: str, here: Here = list) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            if os.environ.get("CI"):
                pytest.fail("PostgreSQL is not installed")
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self._binaries, self._place, self._here = found[-1].parent, place, here
        self._user, self._password = user, password
        self._as_user: list[str] = []
        place.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # It refuses to run as root.
            account = pwd.getpwnam("postgres")
            self._as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            for folder in (place, *place.parents[:3]):
                folder.chmod(folder.stat().st_mode | 0o755)
            shutil.chown(place, account.pw_uid, account.pw_gid)
        file = place / "password"
        file.write_text(password)
        file.chmod(0o644)
        self._run("initdb", "-D", "data", "-U", user, "-A", "scram-sha-256", f"--pwfile={file}")

    def start(self, listen: str, port: int, network: str = "127.0.0.1/32") -> None:
        """Listen on addresses; `network` is where clients may come from."""
        with (self._place / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {network} scram-sha-256\n")
        options = f"-c listen_addresses={listen} -p {port} -c unix_socket_directories={self._place}"
        self._run("pg_ctl", "-D", "data", "-w", "-t", "120", "-l", "log", "-o", options, "start")

    def create_database(self, name: str, host: str, port: int) -> None:
        """An empty one, of the user's."""
        self._run("createdb", "-h", host, "-p", str(port), "-U", self._user, "-O", self._user, name)

    def stop(self) -> None:
        """At once."""
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def _run(self, name: str, *arguments: str) -> None:
        # To a file: the server that pg_ctl leaves behind would hold a pipe open.
        with (self._place / "commands.log").open("w+") as log:
            command = self._here([*self._as_user, str(self._binaries / name), *arguments])
            environment = {**os.environ, "PGPASSWORD": self._password, "LC_ALL": "C.UTF-8"}
            done = subprocess.run(command, stdout=log, stderr=log, cwd=self._place, env=environment)
            log.seek(0)
            assert done.returncode == 0, log.read()
