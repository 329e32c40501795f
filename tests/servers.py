"""A PostgreSQL server for the tests of storages: started once, on loopback, with a password to look for."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgresql import PostgreSQL

PASSWORD = "s3cret/p@ss:word"
QUOTED = "s3cret%2Fp%40ss%3Aword"


class Server:
    """The server, and URLs of empty databases in it."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.server = PostgreSQL(place, "tuner", PASSWORD)
        self.server.start("127.0.0.1", self.port)
        self._numbers = itertools.count()

    def database(self) -> str:
        name = f"studies{next(self._numbers)}"
        self.server.create_database(name, "127.0.0.1", self.port)
        return f"postgresql+psycopg://tuner:{QUOTED}@127.0.0.1:{self.port}/{name}"

    def restart(self) -> None:
        """At once, as after a crash; every connection drops."""
        self.server.stop()
        self.server.start("127.0.0.1", self.port)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("postgresql"))
    try:
        yield server
    finally:
        server.server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shared.db"
    database: Callable[[], str] = request.getfixturevalue("postgresql").database
    return database()
