"""Report failures of the storage, disk or network as one message."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from epsearch.core.errors import StudyError
from epsearch.core.messages import mask_url
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory

DATABASES = ("sqlalchemy", "sqlite3", "psycopg")
"""Packages whose errors come from the storage; Optuna wraps most of them."""


@contextlib.contextmanager
def reported(config: StudyConfig, run_dir: RunDirectory) -> Iterator[None]:
    """Within, an error of the storage or the system ends the study with one message.

    Raises:
        StudyError: the storage, disk or network failed; finished trials are saved.
    """
    try:
        yield
    except Exception as error:
        # Compare names, to avoid importing these packages.
        of_storage = type(error).__module__.partition(".")[0] in DATABASES
        if of_storage or type(error).__name__ == "StorageInternalError":
            from epsearch.search.storage import reason

            url = run_dir.storage(config)
            raise StudyError(
                f"{mask_url(url)}: the storage failed ({reason(url, error)}). What was written before is kept: fix the "
                "cause (disk space? the database server?) and run the same command to resume."
            ) from None
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise StudyError(
                f"{of_system(error)} What was written before is kept: run the same command to resume."
            ) from error
        raise


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def of_system(error: OSError) -> str:
    """The system's error, its file, and a remedy if known."""
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    text = f"{error.filename}: {what}." if error.filename else f"{what:.300}."
    if error.errno in NO_ROOM:
        return f"{text} Make room."
    if error.errno in NOT_WRITABLE:
        return f"{text} Check its permissions."
    return text
