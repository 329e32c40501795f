"""Download datasets into the data folder: resumed, verified, and complete or absent.

Loads no torch: the driver downloads, with a progress bar, before the workers start.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from epsearch.core.errors import UserError
from epsearch.registry.downloads import Download
from epsearch.registry.workloads import WORKLOADS
from epsearch.workloads.data_folder import DATA_VARIABLE, data_folder, one_at_a_time

ATTEMPTS = 5
"""How often to try to connect again after a connection breaks."""

TIMEOUT = 30
"""Seconds without data after which a connection counts as broken."""

CHUNK = 1 << 18

Progress = Callable[[str, int, int | None], None]
"""`progress(file, bytes received, bytes in total)`; the total is None if the server does not report it."""


DOWNLOADS: dict[str, tuple[Download, ...]] = {
    name: row.downloads for kind in WORKLOADS.values() for name, row in kind.datasets.items() if row.downloads
}
"""The files of each dataset that can be downloaded."""


def missing(dataset: str) -> list[Download]:
    """The files of a dataset that are not in the data folder; empty for a dataset without downloads."""
    folder = data_folder()
    return [
        download
        for download in DOWNLOADS.get(dataset, ())
        if not any((folder / path).exists() for path in (download.path, *download.instead))
    ]


def fetch_all(dataset: str, progress: Progress | None = None) -> None:
    """Download the missing files of a dataset, one process at a time.

    Raises:
        UserError: the download failed; the message explains how to provide the file by hand.
    """
    if not missing(dataset):
        return
    folder = data_folder()
    with one_at_a_time(folder):
        for download in missing(dataset):
            fetch(download, folder, progress)


def fetch(download: Download, folder: Path, progress: Progress | None = None) -> Path:
    """Download one file into `folder`.

    After a broken connection the download resumes from the `.part` file, also in a later call.

    Raises:
        UserError: no connection, no space, or a wrong MD5 sum.
    """
    path = folder / download.path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(download.url, part, lambda done, total: progress(path.name, done, total) if progress else None)
        found = _md5(part)
        if found != download.md5:
            part.unlink()
            raise UserError(_by_hand(download, folder, f"its MD5 sum is {found}, not {download.md5}"))
        part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(_by_hand(download, folder, f"{error or type(error).__name__}")) from error
    return path


def unpack(archive: Path, folder: str) -> Path:
    """Unpack `folder` from a zip file into the folder next to it; nothing is left behind on failure.

    Raises:
        UserError: the archive is damaged or does not contain `folder`, or there is no space.
    """
    target = archive.parent / folder
    try:
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=archive.parent) as temporary:
            with zipfile.ZipFile(archive) as opened:
                # `extractall` removes absolute paths and `..` from the names.
                opened.extractall(temporary)
            (Path(temporary) / folder).replace(target)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{archive} cannot be unpacked ({error}). If it is damaged, delete it and run again."
        ) from error
    return target


class _BrokenOff(OSError):
    """The connection ended before the whole file arrived."""


def _receive(url: str, part: Path, report: Callable[[int, int | None], None]) -> None:
    """Download `url` into `part`; reconnect after a broken connection as long as each attempt receives something."""
    for attempt in range(1, ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(url, part, before, report)
            return
        except (ConnectionError, TimeoutError, http.client.HTTPException, _BrokenOff):
            if attempt == ATTEMPTS or not part.exists() or part.stat().st_size == before:
                raise


def _continue(url: str, part: Path, offset: int, report: Callable[[int, int | None], None]) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "epsearch"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                # The part is as long as the file; its sum shows whether it is correct.
                return
            raise
    with response:
        # A server without ranges sends the whole file, with another status.
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = offset if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            report(done, total)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                report(done, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and done < total:
        # `read` returns no error when the connection ends early.
        raise _BrokenOff(f"the connection ended after {done:,} of {total:,} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _by_hand(download: Download, folder: Path, reason: str) -> str:
    """The message: what failed, and how to provide the file by hand."""
    path = folder / download.path
    held = Path(download.instead[0] if download.instead else download.path).parts[0]
    return (
        f"{path} does not exist and could not be downloaded ({reason.splitlines()[0]:.200}).\n"
        f"If you already have the data, set {DATA_VARIABLE} to the folder that holds {held}/. Otherwise download "
        f"{download.url} and save it as {path}."
    )
