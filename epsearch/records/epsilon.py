"""The useful range of ε (Algorithm 2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from epsearch.records.base import Positive, Record

if TYPE_CHECKING:
    import optuna


def power_of_ten(exponent: int) -> float:
    """10**exponent as the float that `1e<exponent>` denotes (`10.0**k` is off by an ulp for some k)."""
    return float(f"1e{exponent}")


def half_decade(index: int) -> float:
    """10**(index/2) as people write it: 0.001, 0.003162, 0.01 …"""
    return float(f"{10 ** (index / 2):.4g}")


def nearest_power_of_ten(value: float) -> float:
    """10**round(log10(value)), with halves rounded up (Algorithm 2, lines 13 and 14)."""
    return power_of_ten(math.floor(math.log10(value) + 0.5))


class EpsilonRange(Record):
    """The useful range of ε, between two powers of ten, lower <= upper: ε_lower and ε_upper of Algorithm 2."""

    lower: Positive
    upper: Positive

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, end in (("lower", self.lower), ("upper", self.upper)):
            if not math.isclose(end, power_of_ten(round(math.log10(end))), rel_tol=1e-9):
                raise ValueError(f"{name} is {end:g}, which is not a power of ten")
        if self.lower > self.upper:
            raise ValueError(f"lower, {self.lower:g}, is above upper, {self.upper:g}")
        return self

    def grid(self) -> list[float]:
        """Every power of ten from lower to upper, ascending: about 5 values (Table 3)."""
        low, high = round(math.log10(self.lower)), round(math.log10(self.upper))
        return [power_of_ten(exponent) for exponent in range(low, high + 1)]

    def endpoints(self) -> list[float]:
        """The two ends, which Section 4.3 suggests where trials are costly; one value if they are equal."""
        return sorted({self.lower, self.upper})

    def suggest(
        self,
        trial: optuna.Trial,
        name: str = "eps",
        mode: Literal["grid", "endpoints", "continuous"] = "grid",
    ) -> float:
        """Suggest ε from this range, inside your own Optuna objective.

        `grid` and `endpoints` are categorical choices; `continuous` is log-uniform between the ends.
        """
        if mode == "continuous":
            return trial.suggest_float(name, self.lower, self.upper, log=True)
        choices = self.grid() if mode == "grid" else self.endpoints()
        return float(trial.suggest_categorical(name, choices))

    def tune_domain(self, mode: Literal["grid", "endpoints", "continuous"] = "grid") -> Any:
        """The range as a Ray Tune search-space domain: `choice` of the points, or `loguniform`.

        Raises:
            ImportError: Ray Tune is not installed.
        """
        try:
            from ray import tune
        except ImportError as error:
            raise ImportError("tune_domain() needs Ray Tune: pip install 'ray[tune]'") from error
        if mode == "continuous":
            return tune.loguniform(self.lower, self.upper)
        return tune.choice(self.grid() if mode == "grid" else self.endpoints())
