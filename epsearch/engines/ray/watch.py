"""Watch whether the Ray cluster that runs a study is still alive."""

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
"""After this long without an answer from Ray's head, the study ends."""

LAST_SECONDS = 50
"""After this long, end the process. After 60 seconds Ray itself would end it, without epsearch's message."""


def check_reachable(address: str, seconds: float) -> None:
    """Raise an OSError if nothing listens at host:port within `seconds`; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()


class Watch:
    """Checks every few seconds, in a thread, whether Ray's head answers.

    The engine calls `check` and ends the study in order. Without a head, however, most calls to Ray neither return nor
    can be interrupted: then the thread ends the process.
    """

    def __init__(self) -> None:
        self.answers = True
        """Whether the head answered the last check."""
        self._gone: str | None = None
        self._ended = threading.Event()

    def start(self, address: str) -> None:
        """Start checking this host:port."""
        threading.Thread(target=self._run, args=(address,), daemon=True).start()

    def end(self) -> None:
        """Stop checking."""
        self._ended.set()

    def check(self) -> None:
        """Check that Ray is still there.

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
