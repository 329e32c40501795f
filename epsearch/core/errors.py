"""Exceptions that commands report as one message, and those that pass between a worker and its driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class UserError(ValueError):
    """The user's input is wrong. The message gives the mistake, its place and a fix. Exit code 2."""


class StudyError(RuntimeError):
    """The study could not be completed. The message gives what is saved and how to resume. Exit code 1."""


class ProcessUnusable(RuntimeError):
    """This process cannot train any more: it is out of memory, or its GPU context is broken.

    Its trials are lost but keep their checkpoints, and another process retries them. The message is one line.
    """

    def __init__(self, reason: str, endings: Sequence[Any] = ()) -> None:
        super().__init__(reason)
        self.endings = tuple(endings)
        """The `Ending` of each trial trained together that had ended before; None for the others."""


class DriverGone(BaseException):
    """The driver has exited, so the worker exits too.

    Not an Exception, so that no `except Exception` treats it as an error of the training.
    """
