"""Transfer a run directory from a cluster: a job prints it as text, which is unpacked here.

`python -m epsearch.engines.ray.archive DIR` prints it. The text that arrives is not trusted.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import io
import sqlite3
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from epsearch.core.errors import UserError
from epsearch.core.messages import one_line, shown

CHECKPOINTS = "checkpoints"
"""Folder that is never fetched: loading a checkpoint runs any code in it."""

BEGIN, END = "-----BEGIN RUN DIRECTORY-----", "-----END RUN DIRECTORY-----"


def write_out(directory: Path) -> None:
    """Print a run directory as a tar file in base64, for `fetch`.

    Checkpoints are left out: only the cluster resumes from them. The database is copied with SQLite's backup, as the
    study may still be writing to it.
    """
    if not (directory / "study.yaml").exists():
        sys.exit(f"{directory} does not exist yet; see the job's log.")
    archive = io.BytesIO()
    # Follow links: `unpack` accepts only plain files.
    with (
        tarfile.open(fileobj=archive, mode="w:gz", dereference=True) as tar,
        tempfile.TemporaryDirectory() as scratch,
    ):
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            if name.parts[0] in (CHECKPOINTS, ".lock") or path.suffix == ".tmp" or not path.is_file():
                continue
            if name.suffix == ".db":
                copy = Path(scratch) / name.name
                # A damaged database is sent as it is.
                with (
                    contextlib.suppress(sqlite3.Error),
                    contextlib.closing(sqlite3.connect(path, timeout=60)) as here,
                    contextlib.closing(sqlite3.connect(copy)) as there,
                ):
                    here.backup(there)
                    path = copy  # noqa: PLW2901 - the copy stands for it
            elif "db-" in name.suffix:
                continue
            # A trial may end in the meantime and delete its file.
            with contextlib.suppress(FileNotFoundError):
                tar.add(path, arcname=str(name))
    print(BEGIN, base64.encodebytes(archive.getvalue()).decode(), END, sep="\n", flush=True)


def unpack(archive: str, directory: Path) -> list[str]:
    """Write the files of `write_out` below `directory`; return the names of checkpoints, which are skipped.

    Raises:
        UserError: the archive is damaged, or contains anything but plain files below it. Nothing is written then.
        OSError: the files cannot be written.
    """
    try:
        content = gzip.decompress(base64.b64decode(archive))
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            members = {_safe(member, directory): member for member in tar if not member.isdir()}
            files = {path: opened.read() for path, member in members.items() if (opened := tar.extractfile(member))}
    except (binascii.Error, gzip.BadGzipFile, zlib.error, EOFError, tarfile.TarError) as error:
        raise UserError(
            f"what was fetched is damaged ({type(error).__name__}: {one_line(error)}); try again."
        ) from error
    left_out = [path for path in files if path.parts[0] == CHECKPOINTS]
    for path in left_out:
        del files[path]
    for path, file in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(file)
    return [str(path) for path in left_out]


def _safe(member: tarfile.TarInfo, directory: Path) -> PurePosixPath:
    """The path of a plain file that stays below `directory`.

    Not `tarfile.data_filter`: Python 3.11.2 does not have it, and it allows links.
    """
    path = PurePosixPath(member.name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts
    if not (member.isreg() and inside and (directory / path).resolve().is_relative_to(directory.resolve())):
        raise UserError(
            f"what was fetched has {shown(member.name)}, which is not a plain file of a run directory: nothing was "
            "written. A run directory of epsearch's has no such file; do not trust this cluster."
        )
    return path


if __name__ == "__main__":
    write_out(Path(sys.argv[1]))
