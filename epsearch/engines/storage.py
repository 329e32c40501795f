"""The Optuna storage: SQLite in the run directory, or any URL that Optuna takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from epsearch.errors import UserError
from epsearch.studyfile import STORAGE_VARIABLE
from epsearch.wording import mask_password

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

CONNECT_SECONDS = 10

MADE_MEANWHILE = ("already exists", "UNIQUE constraint failed", "duplicate key")
"""What databases say when a dashboard or a driver that starts beside makes a table, or a row of the schema's version,
between Optuna's look and its own attempt: try again."""


def open_storage(url: str, where: str = "engine.storage") -> BaseStorage:
    """Open an Optuna storage; `where` is what a message calls it.

    Raises:
        UserError: the URL is wrong, a driver is missing, or the server cannot be reached. The password of the
            URL is never part of the message.
    """
    from optuna.storages import RDBStorage, get_storage

    # Another process may hold SQLite's lock for a while; a server that is not there should be said soon.
    arguments = {"timeout": 60} if url.startswith("sqlite") else {"connect_timeout": CONNECT_SECONDS}

    def connect() -> BaseStorage:
        for _ in range(10):
            try:
                return get_storage(RDBStorage(url, engine_kwargs={"connect_args": arguments}))
            except Exception as error:
                if not any(sign in str(error.__cause__ or error) for sign in MADE_MEANWHILE):
                    raise
        return get_storage(RDBStorage(url, engine_kwargs={"connect_args": arguments}))

    try:
        return connect()
    except Exception as error:
        reason = " ".join(_without(url, str(error.__cause__ or error)).split())
        raise UserError(
            f"{where}: {mask_password(url)} cannot be opened ({reason:.300}). {_remedy(url, error)}"
        ) from None


def _remedy(url: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        return "Install its driver; for PostgreSQL: pip install 'epsearch[postgres]' and a URL postgresql+psycopg://…"
    if "://" in url and ":***@" in url:
        return f"No file keeps the password: set {STORAGE_VARIABLE} to the whole URL."
    if not any(hasattr(cause, "orig") for cause in (error, error.__cause__)):  # SQLAlchemy's mark of a driver's error
        return "Write a URL such as postgresql+psycopg://user@host/database, or remove the key to use SQLite."
    if url.startswith("sqlite"):
        return "Its folder must exist and be writable."
    return "Does the server run there, and are user, password and database right? Without the key SQLite is used."


def _without(url: str, text: str) -> str:
    """`text` without the URL and its password, whichever way a driver quotes them."""
    text = text.replace(url, mask_password(url))
    for password in re.findall(r"(?<=://)[^:/@]*:(.+)@", url) + re.findall(r"[?&]password=([^&\s]+)", url):
        text = text.replace(password, "***").replace(unquote(password), "***")
    return text
