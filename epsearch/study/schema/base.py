"""Building blocks of the study file's models: bounds, axes, names, errors."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from epsearch.core.messages import hint, shown, suggestion
from epsearch.registry.optimizers import BASELINES
from epsearch.study.yaml import KeyPath


def wrong(message: str, at: KeyPath = ()) -> PydanticCustomError:
    """A validation error with its own message; `at` is a key below the model that raises it."""
    return PydanticCustomError("epsearch", "{message}", {"message": message, "at": at})


def one_of(kind: str, names: Sequence[str]) -> Any:
    """The type of a text that must be one of `names`."""

    def check(value: str) -> str:
        if value not in names:
            if kind == "optimizer" and (value in BASELINES or value.lower() in ("sgd", "momentum", "nesterov")):
                raise wrong(
                    f"{value} has no ε to search; choose an adaptive optimizer, and compare it with SGD by "
                    "search.baselines: [sgd_momentum]."
                )
            raise wrong(f"no {kind} called {shown(value)}. {suggestion(value, names)}")
        return value

    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(names)})]


Positive = Annotated[FiniteFloat, Field(gt=0)]


Momentum = Annotated[FiniteFloat, Field(ge=0, lt=1)]


Count = Annotated[int, Field(ge=1, le=10**9)]


class Section(BaseModel):
    """A mapping of the study file. Unknown keys and wrong types, such as text for a number, are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Bounds(Section):
    """A range from low to high, inclusive."""

    low: Positive
    """Lower end, above 0."""
    high: Positive
    """Upper end."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.low == self.high:
            raise wrong(f"low and high are both {self.low:g}; for one value write {self.low:g} alone.")
        if self.low > self.high:
            raise wrong(f"low ({self.low:g}) is above high ({self.high:g}); swap them.")
        return self


class Beta2Bounds(Bounds):
    """β₂ from low to high, in powers of ten of 1 - β₂: 0.9, 0.99, 0.999 …"""

    high: Annotated[FiniteFloat, Field(gt=0, lt=1)]
    """Upper end, below 1."""


def _kind(value: object) -> str:
    """The form of an axis, which is the tag of the model that checks it."""
    if isinstance(value, dict | Bounds):
        return "bounds"
    if isinstance(value, list):
        return "list"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "keyword"


def axis_of(number: Any, bounds: type[Bounds], *keywords: str) -> Any:
    """The type of an axis: a keyword, a number, a list of numbers, or bounds."""
    forms = ", ".join([*keywords, "a number", "a list of numbers"]) + " or {low: …, high: …}"

    def check(value: object) -> object:
        if value not in keywords:
            near = difflib.get_close_matches(str(value), keywords, n=1)
            remedy = f' Did you mean "{near[0]}"?' if near else hint("float_type", value)
            raise wrong(f"expected {forms}, found {shown(value)}.{remedy}")
        return value

    schema: dict[str, Any] = {"type": "string", "enum": list(keywords)} if keywords else {"not": {}}
    form: Any = Annotated[number, Tag("number")]
    form |= Annotated[Annotated[list[number], Field(min_length=1), AfterValidator(distinct)], Tag("list")]
    form |= Annotated[bounds, Tag("bounds")]
    form |= Annotated[str, BeforeValidator(check), WithJsonSchema(schema), Tag("keyword")]
    return Annotated[form, Discriminator(_kind)]


def distinct(values: list[float]) -> list[float]:
    """Sort the values; raise an error if one is listed twice."""
    if len(set(values)) < len(values):
        raise wrong("lists a value twice; remove one.")
    return sorted(values)


def check_name(name: str) -> None:
    """Check that a name can be that of a directory in runs/.

    Raises:
        PydanticCustomError: it cannot; the message gives the reason.
    """
    if not name.strip() or name != name.strip():
        raise wrong("must not be empty, or begin or end with a space.", ("name",))
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise wrong(
            f"{shown(name)} cannot be the name of a run directory: no slashes, line breaks or leading dot; "
            "to run elsewhere use --dir DIR.",
            ("name",),
        )
    if len(name.encode()) > 200:
        raise wrong("is too long for a file name; use at most 200 bytes.", ("name",))
