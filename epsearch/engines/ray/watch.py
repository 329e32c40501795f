"""Whether the Ray that a study runs on is still there."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from epsearch.core.errors import StudyError
from epsearch.core.messages import one_line

POLL_SECONDS = 5

GONE_SECONDS = 30
"""A Ray whose head has not answered for so long is given up."""

LAST_SECONDS = 50
"""By now, this process ends in any case. After 60 seconds Ray would end it, with words of its own alone."""


def check_reachable(address: str, seconds: float) -> None:
    """Raise an OSError where nothing listens at host:port within some seconds; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()


class Watch:
    """Asks every few seconds, in a thread, whether Ray's head is there.

    The engine checks what was found, and ends the study in order. Without its head, though, most calls to Ray do not
    return, and cannot be interrupted: then the thread ends the process.
    """

    def __init__(self) -> None:
        self.answers = True
        """Whether the head answered when last asked."""
        self._gone: str | None = None
        self._ended = threading.Event()

    def start(self, address: str) -> None:
        """Ask from now on, at this host:port."""
        threading.Thread(target=self._run, args=(address,), daemon=True).start()

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def check(self) -> None:
        """Make sure that Ray is still there.

        Raises:
            StudyError: its head has not answered for `GONE_SECONDS`.
        """
        if self._gone is not None:
            raise StudyError(self._gone)

    def _run(self, address: str) -> None:
        answered = time.monotonic()
        while not self._ended.wait(POLL_SECONDS):
            try:
                check_reachable(address, 2)
            except OSError as error:
                self.answers = False
                silent = time.monotonic() - answered
                if silent >= GONE_SECONDS:
                    self._gone = (
                        f"Ray at {address} has not answered for {GONE_SECONDS} seconds ({one_line(error)}). Finished "
                        "trials are saved; rerun the same command to resume."
                    )
                if silent >= LAST_SECONDS and not self._ended.is_set():
                    print(f"epsearch: {self._gone}", file=sys.stderr, flush=True)
                    os._exit(1)
            else:
                self.answers, answered = True, time.monotonic()
