"""`module:attribute` paths, which every table and a user's own code are named by."""

from __future__ import annotations

import importlib
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
