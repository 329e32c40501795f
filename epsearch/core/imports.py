"""`module:attribute` paths, which every table and a user's own code are named by."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from epsearch.core.commands import install
from epsearch.core.messages import one_line


def load_object(path: str) -> Any:
    """The object that `module:attribute` names.

    Raises:
        ImportError, AttributeError: as importing raises them; whatever else the module's own code raises.
    """
    module, _, attribute = path.partition(":")
    loaded: Any = importlib.import_module(module)
    for part in attribute.split("."):
        loaded = getattr(loaded, part)
    return loaded


def not_imported(error: ImportError, extra: str) -> str:
    """`needs a package that is not installed …`: what a message says of an extra whose import failed.

    A package that is there and cannot be imported (a missing shared library, another version) is another matter.
    """
    reason = f"({type(error).__name__}: {one_line(error)})"
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == extra:
        return f"needs a package that is not installed {reason}: {install(extra)}"
    return f"could not be imported {reason}. Check the installed versions: {install(extra)} --upgrade"


def raised(error: BaseException) -> str:
    """`raises ValueError: why (file, line 7)`: what a message says of a user's code that raised."""
    if isinstance(error, SyntaxError):
        return f"raises {type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error)
    shown = text if len(text) <= 400 else f"{text[:399]}…"
    return f"raises {type(error).__name__}: {shown} ({frame.filename}, line {frame.lineno})"
