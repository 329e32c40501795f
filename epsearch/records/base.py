"""Immutable plain data, saved as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from epsearch.core.errors import UserError
from epsearch.core.files import write_atomically

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of elements."""


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


REPR_LIMIT = 200
"""Longest field, in characters, that `repr` shows in full."""


class _Short:
    """A long value, abbreviated in `repr`."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        if isinstance(self._value, list | dict):
            return f"<{len(self._value):,} items>"
        return f"{repr(self._value)[: REPR_LIMIT - 1]}…"


class Record(BaseModel):
    """Base class of immutable plain data, saved as one JSON file each."""

    remedy: ClassVar[str] = "Delete it, or restore the file as epsearch wrote it."
    """What to do about a saved record that cannot be read."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Abbreviate long fields in `repr`, `str` and rich."""
        for name, value in super().__repr_args__():
            many = isinstance(value, list) and len(value) > REPR_LIMIT // 10
            yield name, _Short(value) if many or len(repr(value)) > REPR_LIMIT else value

    def save(self, path: str | Path) -> None:
        """Write this record to `path` as JSON, atomically."""
        write_atomically(Path(path), self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a record that `save` wrote.

        Raises:
            UserError: the file is missing or not a valid record.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            reason = " ".join(f"{where:.100}: {first['msg'].removeprefix('Value error, '):.200}".split())
            raise UserError(f"{path}: not a valid {cls.__name__} ({reason}). {cls.remedy}") from error
