"""The Optuna storage: SQLite in the run directory, or any URL that Optuna takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from epsearch.core.commands import install
from epsearch.core.environment import STORAGE_VARIABLE
from epsearch.core.errors import UserError
from epsearch.core.messages import NOT_SHOWN, mask_url

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

CONNECT_SECONDS = 10

EXAMPLE = "Write a URL such as postgresql+psycopg://user@host/database, or remove the key to use SQLite."

MADE_MEANWHILE = ("already exists", "UNIQUE constraint failed", "duplicate key")
"""Database errors raised if another process creates a table or the schema's version at the same time: retry."""


def check_url(url: str, where: str = "engine.storage") -> None:
    """Reject a storage URL that no driver can open, without connecting; `where` names it in messages.

    Raises:
        UserError: it cannot be parsed, its dialect is unknown, its driver is not installed, or it is in memory.
    """
    from sqlalchemy.engine import make_url

    if mask_url(url) == NOT_SHOWN:
        raise UserError(
            f"{where}: a URL that cannot be parsed {NOT_SHOWN}. {EXAMPLE} In a password write %40 for @, %2F for /."
        )
    parsed = make_url(url)
    try:
        dialect = parsed.get_dialect()
        dialect.import_dbapi()
    except Exception as error:
        raise UserError(cannot_be_opened(url, where, error)) from None
    if dialect.is_async:
        raise UserError(f"{where}: {mask_url(url)} names an asynchronous driver, which Optuna cannot use. {EXAMPLE}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UserError(
            f"{where}: {mask_url(url)} is an in-memory database, which is lost when the run ends. {EXAMPLE}"
        )


def open_storage(url: str, where: str = "engine.storage") -> BaseStorage:
    """Open an Optuna storage; `where` names it in messages.

    Raises:
        UserError: the URL is wrong, a driver is missing, or the server cannot be reached. The password of the
            URL is never part of the message.
    """
    from optuna.storages import get_storage

    from epsearch.search.patient_storage import PatientStorage

    check_url(url, where)

    def connect() -> BaseStorage:
        # Optuna treats the URL as a template.
        template = url.replace("{", "{{").replace("}", "}}")
        return get_storage(PatientStorage(template, engine_kwargs=_engine_settings(url)))

    try:
        for _ in range(10):
            try:
                return connect()
            except Exception as error:
                if not any(sign in str(error.__cause__ or error) for sign in MADE_MEANWHILE):
                    raise
        return connect()
    except Exception as error:
        raise UserError(cannot_be_opened(url, where, error)) from None


def cannot_be_opened(url: str, where: str, error: BaseException) -> str:
    """The message for a storage that cannot be opened: the driver's error and a remedy."""
    return f"{where}: {mask_url(url)} cannot be opened ({reason(url, error)}). {_remedy(url, error)}"


def reason(url: str, error: BaseException) -> str:
    """A driver's error in one line, with every form of the URL's passwords masked."""
    cause = error.__cause__ or error
    text = " ".join(str(getattr(cause, "orig", None) or cause).split())
    shown = mask_url(url)
    if shown == NOT_SHOWN:
        return type(cause).__name__
    text = text.replace(url, shown)
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, "***")
    return f"{text:.300}"


def _engine_settings(url: str) -> dict[str, Any]:
    """Arguments for SQLAlchemy's engine."""
    if url.startswith("sqlite"):
        # Another process may hold SQLite's lock for a while.
        return {"connect_args": {"timeout": 60}}
    # Fail soon if no server answers, and replace connections that died while idle.
    arguments = {"connect_timeout": CONNECT_SECONDS}
    if url.startswith(("postgresql:", "postgresql+psycopg")):
        arguments |= {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    return {"connect_args": arguments, "pool_pre_ping": True}


def _remedy(url: str, error: BaseException) -> str:
    if isinstance(error, ImportError):
        return f"Install its driver; for PostgreSQL: {install('postgres')} and a URL postgresql+psycopg://…"
    if ":***@" in url or "=***" in url:
        other = f", and {STORAGE_VARIABLE} names another database" if os.environ.get(STORAGE_VARIABLE) else ""
        return f"Passwords are not stored in files{other}: set {STORAGE_VARIABLE} to the full URL."
    if url.startswith("sqlite"):
        return _sqlite_remedy(url, str(error.__cause__ or error))
    if "permission denied" in str(error):
        return "Grant the user the right to create tables in that database."
    if not any(hasattr(cause, "orig") for cause in (error, error.__cause__)):  # SQLAlchemy's mark of a driver's error
        return EXAMPLE
    return "Check that the server is running, and the user, password and database. Remove the key to use SQLite."


def _sqlite_remedy(url: str, text: str) -> str:
    from sqlalchemy.engine import make_url

    file = make_url(url).database or ""
    if os.path.isdir(file):
        return f"{file} is a directory: move it away, or name another file."
    if "not a database" in text or "malformed" in text:
        return f"{file} is damaged, or not a database: restore a copy, or move it away to start the study again."
    if "readonly" in text:
        return f"Make {file} and its folder writable."
    return "Its folder must exist and be writable."


def _secrets(url: str) -> set[str]:
    """The passwords of a parsable URL, decoded and in every form that a driver may quote."""
    from sqlalchemy.engine import make_url

    parsed, shown = make_url(url), make_url(mask_url(url))
    plain = {str(parsed.password)} if parsed.password else set()
    for key, value in parsed.query.items():
        if shown.query.get(key) != value:
            plain |= {value} if isinstance(value, str) else set(value)
    raw = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    forms = {form for secret in plain for form in (secret, quote(secret), quote(secret, ""), quote_plus(secret))}
    forms |= {repr(secret)[1:-1] for secret in plain}
    return (forms | ({raw} if parsed.password else set())) - {""}
