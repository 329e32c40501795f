"""Several machines on this one, for tests of what crosses a network: a network namespace for each, a bridge between.

A machine has its own addresses and ports, its own /etc/hosts, which knows the others by name, and its own /tmp/ray. The
rest of the file system is shared. Nothing in one can reach, or be reached from, the real network.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

NETWORK = "10.77.0"


def need_namespaces() -> None:
    """Skip where network namespaces are not permitted; on CI, fail."""
    name = f"epsearch-{os.getpid()}"
    permitted = shutil.which("ip") and not subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode
    if permitted:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    elif os.environ.get("CI"):
        pytest.fail("ip netns add is not permitted")
    else:
        pytest.skip("network namespaces are not permitted here (they need root and Debian's iproute2)")


class Machine:
    """One machine; `environment` is added to this process's for what runs there."""

    def __init__(self, namespace: str, name: str, address: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self.address = name, address
        self._namespace, self._folder = namespace, folder
        # Ray's files go to a folder of TMPDIR's, which shall be the machine's own.
        self.environment = {**os.environ, "TMPDIR": "/tmp", **environment}
        (folder / "ray").mkdir(parents=True)

    def command(self, command: str | Sequence[str]) -> list[str]:
        """The command line that runs a command there: words, or text for a shell."""
        words = ["sh", "-c", f"exec {command}"] if isinstance(command, str) else list(command)
        mount = 'mkdir -p /tmp/ray && mount --bind "$0" /tmp/ray && exec "$@"'
        own = ["unshare", "--mount", "sh", "-c", mount, str(self._folder / "ray")]
        return ["ip", "netns", "exec", self._namespace, *own, *words]

    def start(self, command: str | Sequence[str], **keywords: Any) -> subprocess.Popen[str]:
        """Run a command there, in the background; what it prints goes to a file."""
        with (self._folder / "log").open("a") as log:
            streams: dict[str, Any] = {"stdout": log, "stderr": log, "env": self.environment, "text": True}
            return subprocess.Popen(self.command(command), **{**streams, **keywords})

    def run(self, *words: str, timeout: float = 300, **keywords: Any) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        environment = {**self.environment, "COLUMNS": "200"}
        return subprocess.run(
            self.command(words), capture_output=True, text=True, env=environment, timeout=timeout, **keywords
        )

    def processes(self, *words: str) -> list[int]:
        """Ids of the processes there whose command line has these words."""
        listed = subprocess.run(["ip", "netns", "pids", self._namespace], capture_output=True, text=True, check=True)
        found = []
        for process in listed.stdout.split():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                if all(word.encode() in line for word in words):
                    found.append(int(process))
        return found

    def kill(self, *words: str) -> None:
        """SIGKILL to every process there, or to those whose command line has these words."""
        while found := self.processes(*words):
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)

    @property
    def log(self) -> str:
        """What has been printed there in the background."""
        return (self._folder / "log").read_text(errors="replace")


class Machines:
    """A network of machines, which are killed and taken away at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = f"eps{os.getpid() % 100000}"
        self._machines: list[Machine] = []
        self._bridge = f"{self._prefix}-net"
        self._hosts: dict[str, str] = {}

    def __enter__(self) -> Machines:
        _ip("netns", "add", self._bridge)
        _ip("-n", self._bridge, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._bridge, "address", "add", f"{NETWORK}.1/24", "dev", "bridge")
        _ip("-n", self._bridge, "link", "set", "bridge", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self._machines:
            machine.kill()
            _ip("netns", "delete", machine._namespace)
            shutil.rmtree(f"/etc/netns/{machine._namespace}", ignore_errors=True)
        _ip("netns", "delete", self._bridge)

    def add(self, name: str, environment: Mapping[str, str] | None = None) -> Machine:
        """A new machine, which the others know by its name."""
        number = len(self._machines) + 2
        namespace, address = f"{self._prefix}-{name}", f"{NETWORK}.{number}"
        _ip("netns", "add", namespace)
        peer = ["peer", "name", f"port{number}", "netns", self._bridge]
        _ip("link", "add", "eth0", "netns", namespace, "type", "veth", *peer)
        _ip("-n", self._bridge, "link", "set", f"port{number}", "master", "bridge", "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", device, "up")
        # Ray finds its own address by asking for the way to a public one. Nothing is sent there: this one ends at once.
        _ip("-n", namespace, "route", "add", "default", "via", f"{NETWORK}.1")
        machine = Machine(namespace, name, address, self._folder / name, environment or {})
        self._machines.append(machine)
        self._hosts[name] = address
        for other in self._machines:
            known = "".join(f"{address} {name}\n" for name, address in self._hosts.items())
            # `ip netns exec` shows these there as /etc/hosts and /etc/resolv.conf: no name server is asked.
            place = Path("/etc/netns") / other._namespace
            place.mkdir(parents=True, exist_ok=True)
            (place / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            (place / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
        return machine


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def wait_for(condition: Callable[[], object], seconds: float, what: str | Callable[[], str]) -> None:
    """Look until something is so; fail after some seconds, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what() if callable(what) else what}"
        time.sleep(0.2)
