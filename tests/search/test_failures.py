"""System errors during a study are reported with their cause."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from epsearch.core.errors import StudyError, UserError
from epsearch.search.failures import reported
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study

KEPT = "What was written before is kept"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), f"/x/y: No space left on device. Make room. {KEPT}"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            f"/x: Permission denied. Check its permissions. {KEPT}",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/bin/z"),
            f"/bin/z: No such file or directory. {KEPT}",
        ),
        (ConnectionError("no Ray came up\nin 30 s"), f"no Ray came up in 30 s. {KEPT}"),
        (OSError(), f"OSError. {KEPT}"),
        (sqlite3.OperationalError("database is locked"), "study.db: the storage failed (database is locked). " + KEPT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_happened_is_reported(error: Exception, expected: str, tmp_path: Path) -> None:
    """A full disk is suspected only for errors of the storage."""
    (tmp_path / "s.yaml").write_text("workload: {name: vision, dataset: digits, model: mlp}\n")
    with (
        pytest.raises(StudyError) as raised,
        reported(load_study(tmp_path / "s.yaml"), RunDirectory(tmp_path / "run")),
    ):
        raise error
    assert expected in str(raised.value)
    assert ("disk space?" in str(raised.value)) == isinstance(error, sqlite3.Error)


@pytest.mark.parametrize("error", [BrokenPipeError(), KeyError("a bug"), UserError("a mistake")])
def test_other_errors_pass(error: Exception, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("workload: {name: vision, dataset: digits, model: mlp}\n")
    with (
        pytest.raises(type(error)) as raised,
        reported(load_study(tmp_path / "s.yaml"), RunDirectory(tmp_path / "run")),
    ):
        raise error
    assert raised.value is error
