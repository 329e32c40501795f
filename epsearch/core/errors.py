"""What a command reports in one message instead of a traceback, and what passes between a worker and its driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class UserError(ValueError):
    """The user's input is wrong: the message says what, where, and the remedy. Exit code 2."""


class StudyError(RuntimeError):
    """The study could not be carried through: the message says what is kept and how to go on. Exit code 1."""


class ProcessUnusable(RuntimeError):
    """This process must not train again: out of memory, or its accelerator's context is broken.

    Its trials have died and keep their checkpoints; another process retries them. The message is the reason, in one
    line.
    """

    def __init__(self, reason: str, endings: Sequence[Any] = ()) -> None:
        super().__init__(reason)
        self.endings = tuple(endings)
        """The `Ending` of each of the trials trained together that was over by then; None for those that died."""


class DriverGone(BaseException):
    """Nobody listens to a worker's reports any more: its process ends.

    Not an Exception, so that neither a user's `except Exception` nor ours takes it for an error of the training.
    """
