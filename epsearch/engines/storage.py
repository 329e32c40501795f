"""The Optuna storage: SQLite in the run directory, or any URL that Optuna takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from epsearch.config import mask_password
from epsearch.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

CONNECT_SECONDS = 10


def open_storage(url: str) -> BaseStorage:
    """Open an Optuna storage.

    Raises:
        UserError: the URL is wrong, a driver is missing, or the server cannot be reached. The password of the
            URL is never part of the message.
    """
    from optuna.storages import RDBStorage, get_storage

    # Another process may hold SQLite's lock for a while; a server that is not there should be said soon.
    arguments = {"timeout": 60} if url.startswith("sqlite") else {"connect_timeout": CONNECT_SECONDS}
    try:
        if url.startswith("redis"):
            return get_storage(url)
        return get_storage(RDBStorage(url, engine_kwargs={"connect_args": arguments}))
    except Exception as error:
        reason = " ".join(_without(url, str(error.__cause__ or error)).split())
        remedy = (
            "Install its driver, e.g. pip install 'epsearch[postgres]'."
            if isinstance(error, ImportError)
            else "Write a URL such as postgresql+psycopg://user@host/database, or remove it to use SQLite."
        )
        raise UserError(f"engine.storage: {mask_password(url)} cannot be opened ({reason:.300}). {remedy}") from None


def _without(url: str, text: str) -> str:
    """`text` without the URL and its password, whichever way a driver quotes them."""
    masked = mask_password(url)
    password = url[len(masked.split("***")[0]) : url.rfind("@")] if "***" in masked else ""
    text = text.replace(url, masked)
    return text.replace(password, "***") if password else text
