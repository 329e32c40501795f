"""The user's object that a study file names as `module:name`."""

from __future__ import annotations

import sys
from typing import Any

from epsearch.core.errors import StudyError, UserError
from epsearch.core.imports import load_object, raised
from epsearch.core.messages import suggestion


def load_user_object(path: str, where: str) -> Any:
    """Load `module:name`; `where` is its place in the study file, for messages.

    Raises:
        UserError: the module is not found, raises while importing, or has no such name.
    """
    module, _, name = path.partition(":")
    try:
        return load_object(path)
    except (Exception, SystemExit) as error:
        if isinstance(error, StudyError | UserError):
            raise
        loaded = sys.modules.get(module)
        if isinstance(error, AttributeError) and loaded is not None and not hasattr(loaded, name.split(".")[0]):
            public = [attribute for attribute in vars(loaded) if not attribute.startswith("_")]
            raise UserError(f'{where}: {module} has no "{name}". {suggestion(name, public)}') from error
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise UserError(
                f"{where}: no module named {error.name}, neither beside the study file ({sys.path[0]}) "
                "nor among the installed packages."
            ) from error
        raise UserError(f"{where}: importing {module} {raised(error)}.") from error
