"""Downloads from a real server on this machine: with and without ranges, broken off, wrong, absent."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from epsearch.core.errors import UserError
from epsearch.registry.workloads import WORKLOADS
from epsearch.workloads import downloads
from epsearch.workloads.data_folder import DATA_VARIABLE, data_folder
from epsearch.workloads.downloads import DOWNLOADS, Download, fetch, fetch_all, missing, unpack

CONTENT = bytes(range(256)) * 4096
SUM = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; breaks the connection off after `breaks` bytes as often as `times` says."""

    ranges = True
    breaks, times = len(CONTENT), 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: list[int] = []

    def download(self, md5: str = SUM) -> Download:
        return Download(f"http://127.0.0.1:{self.server_port}/file", md5, "some/file", instead=("unpacked/file",))


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range") if self.server.ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT)
        if self.server.times:
            self.server.times -= 1
            end = min(end, start + self.server.breaks)
        self.server.sent.append(end - start)
        self.wfile.write(CONTENT[start:end])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_whole(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    path = fetch(server.download(), tmp_path, lambda *progress: told.append(progress))
    assert path == tmp_path / "some" / "file"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["file"]
    assert told[0] == ("file", 0, len(CONTENT))
    assert told[-1] == ("file", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_goes_on_after_a_broken_connection(server: Server, tmp_path: Path) -> None:
    server.breaks, server.times = 300_000, 2
    assert fetch(server.download(), tmp_path).read_bytes() == CONTENT
    assert server.sent == [300_000, 300_000, len(CONTENT) - 600_000]


def test_a_later_call_goes_on(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.breaks, server.times = len(CONTENT) // 2, 1
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(UserError, match="the connection ended after 524,288 of 1,048,576 bytes"):
        fetch(server.download(), tmp_path)
    assert not (tmp_path / "some" / "file").exists()
    told: list[tuple[str, int, int | None]] = []
    assert fetch(server.download(), tmp_path, lambda *progress: told.append(progress)).read_bytes() == CONTENT
    assert server.sent == [len(CONTENT) // 2] * 2
    assert told[0] == ("file", len(CONTENT) // 2, len(CONTENT))


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.breaks, server.times = False, 300_000, 1
    assert fetch(server.download(), tmp_path).read_bytes() == CONTENT
    assert server.sent == [300_000, len(CONTENT)]


def test_gives_up_where_nothing_more_comes(server: Server, tmp_path: Path) -> None:
    server.ranges, server.breaks, server.times = False, 300_000, 99
    with pytest.raises(UserError, match="the connection ended after 300,000"):
        fetch(server.download(), tmp_path)
    assert server.sent == [300_000] * 2


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"])
def test_what_came_was_whole_already(server: Server, tmp_path: Path, part: bytes) -> None:
    """Killed between the last byte and the renaming; or something else lies there."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file.part").write_bytes(part)
    if part == CONTENT:
        assert fetch(server.download(), tmp_path).read_bytes() == CONTENT
    else:
        with pytest.raises(UserError, match="MD5"):
            fetch(server.download(), tmp_path)
    assert not server.sent
    assert not (tmp_path / "some" / "file.part").exists()


def test_another_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"its MD5 sum is {SUM}, not {'0' * 32}"):
        fetch(server.download(md5="0" * 32), tmp_path)
    assert list((tmp_path / "some").iterdir()) == []


def test_no_server(server: Server, tmp_path: Path) -> None:
    download = server.download()
    server.shutdown()  # else its thread may hold the socket a moment longer, and the connection is reset, not refused
    server.server_close()
    with pytest.raises(UserError) as error:
        fetch(download, tmp_path)
    for part in (str(tmp_path / "some" / "file"), DATA_VARIABLE, download.url, "Connection refused", "holds unpacked/"):
        assert part in str(error.value)


def test_no_such_page(server: Server, tmp_path: Path) -> None:
    server.RequestHandlerClass = BaseHTTPRequestHandler
    with pytest.raises(UserError, match="HTTP Error 501"):
        fetch(server.download(), tmp_path)


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "some").write_text("a file where a folder belongs")
    with pytest.raises(UserError, match=r"File exists|Not a directory"):
        fetch(server.download(), tmp_path)


def test_only_what_is_missing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setitem(DOWNLOADS, "some", (server.download(),))
    assert missing("some") == [server.download()]
    fetch_all("some")
    fetch_all("some")
    assert missing("some") == []
    assert len(server.sent) == 1
    (data_folder() / "some" / "file").unlink()
    (data_folder() / "unpacked").mkdir()
    (data_folder() / "unpacked" / "file").touch()
    assert missing("some") == []
    assert missing("digits") == []


def test_processes_take_turns(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setitem(DOWNLOADS, "some", (server.download(),))
    # A lock of its own for each opened file: threads wait for one another as processes do.
    threads = [threading.Thread(target=fetch_all, args=("some",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.sent) == 1


def test_every_row_is_of_a_dataset() -> None:
    datasets = {dataset for kind in WORKLOADS.values() for dataset in kind.datasets}
    assert set(DOWNLOADS) <= datasets
    for download in (row for rows in DOWNLOADS.values() for row in rows):
        assert len(download.md5) == 32
        assert not Path(download.path).is_absolute()


def test_rows_are_torchvisions() -> None:
    from torchvision.datasets import CIFAR10, FashionMNIST

    rows = {(Path(row.path).name, row.md5) for row in DOWNLOADS["fashion_mnist"]}
    assert rows == set(FashionMNIST.resources)
    assert {row.url for row in DOWNLOADS["fashion_mnist"]} == {
        f"{FashionMNIST.mirrors[0]}{name}" for name, _ in FashionMNIST.resources
    }
    (row,) = DOWNLOADS["cifar10"]
    assert row[:3] == (CIFAR10.url, CIFAR10.tgz_md5, CIFAR10.filename)


def test_sums_of_the_real_files() -> None:
    for row in DOWNLOADS["ptb"]:
        path = data_folder() / row.path
        if not path.exists():
            pytest.skip(f"no {path}")
        assert hashlib.md5(path.read_bytes()).hexdigest() == row.md5


def test_unpack(tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("images/train/one.txt", "1")
        opened.writestr("../outside.txt", "2")
    assert (unpack(archive, "images") / "train" / "one.txt").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "images.zip"]
    assert not (tmp_path.parent / "outside.txt").exists()


def test_unpack_what_is_damaged(tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    archive.write_bytes(b"PK but no more")
    with pytest.raises(UserError, match=r"images\.zip cannot be unpacked .*delete it"):
        unpack(archive, "images")
    assert [path.name for path in tmp_path.iterdir()] == ["images.zip"]
