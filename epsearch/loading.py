"""`module:attribute` paths, which every table and a user's own code are named by."""

from __future__ import annotations

import importlib
import traceback
from typing import Any


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


def raised(error: BaseException) -> str:
    """`raises ValueError: why (file, line 7)`: what a message says of a user's code that raised."""
    if isinstance(error, SyntaxError):
        return f"raises {type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error)
    shown = text if len(text) <= 400 else f"{text[:399]}…"
    return f"raises {type(error).__name__}: {shown} ({frame.filename}, line {frame.lineno})"
