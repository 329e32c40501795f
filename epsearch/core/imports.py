"""Load objects by `module:attribute`, as tables and study files name them."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from epsearch.core.commands import install
from epsearch.core.messages import one_line


def load_object(path: str) -> Any:
    """Import the object `module:attribute`.

    Raises:
        ImportError, AttributeError: it does not exist. Errors of the module's own code pass through.
    """
    module, _, attribute = path.partition(":")
    loaded: Any = importlib.import_module(module)
    for part in attribute.split("."):
        loaded = getattr(loaded, part)
    return loaded


def not_imported(error: ImportError, extra: str) -> str:
    """The part of a message about an extra whose import failed: `needs a package that is not installed …`.

    A package that is installed but cannot be imported (a missing shared library, a wrong version) gets another text.
    """
    reason = f"({type(error).__name__}: {one_line(error)})"
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == extra:
        return f"needs a package that is not installed {reason}: {install(extra)}"
    return f"could not be imported {reason}. Check the installed versions: {install(extra)} --upgrade"


def raised(error: BaseException) -> str:
    """The part of a message about user code that raised: `raises ValueError: why (file, line 7)`."""
    if isinstance(error, SyntaxError):
        return f"raises {type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error)
    shown = text if len(text) <= 400 else f"{text[:399]}…"
    return f"raises {type(error).__name__}: {shown} ({frame.filename}, line {frame.lineno})"
