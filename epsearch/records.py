"""What passes between the stages, as plain data with JSON: no torch, no optuna, no ray.

Notation (paper -> here): α `lr`; ε `eps`; β₁, β₂ `beta1`, `beta2`; ẑ the denominator term `z`, what ε is
compared with (√v̂ for Adam; Table 5 for others); ε_lower, ε_upper `EpsilonRange.lower`, `.upper` (Algorithm 2).
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from epsearch.errors import UserError

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

BINS_PER_DECADE = 50
"""Resolution of `Histogram`: edges at 10**(k/50), so every power of ten is an edge."""


Count = Annotated[int, Field(ge=0, lt=2**63)]
"""How many elements."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


ERROR_LIMIT = 2000
"""Characters of an exception's text that are kept: a message of megabytes helps nobody."""


STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters other than a new line and a tab, those that turn text around, and what UTF-8 cannot hold."""


def _readable(text: str) -> str:
    """`text` as every file, database and terminal takes it: bounded, with escapes for what is `STEERING`."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text[:ERROR_LIMIT])[:ERROR_LIMIT]


ErrorText = Annotated[str, AfterValidator(_readable)]
"""What an exception says, which may be anything."""


def power_of_ten(exponent: int) -> float:
    """10**exponent as the float that `1e<exponent>` denotes (`10.0**k` is off by an ulp for some k)."""
    return float(f"1e{exponent}")


def write_atomically(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write `content` to `path` whole or not at all: a full disk or a kill leaves the old file as it was.

    Content too large to be held twice is a function that writes it to the open file. Of a text, what UTF-8 cannot
    hold (a file name in an error message may be any bytes) becomes a question mark.

    Raises:
        OSError: the file could not be written; nothing is left behind. What the function raises.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content if isinstance(content, bytes) else content.encode(errors="replace"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


REPR_LIMIT = 200
"""Characters of a field that `repr` shows."""


class _Short:
    """Stands for a long value in `repr`."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        if isinstance(self._value, list | dict):
            return f"<{len(self._value):,} items>"
        return f"{repr(self._value)[: REPR_LIMIT - 1]}…"


class Record(BaseModel):
    """Immutable plain data, saved as one JSON file."""

    remedy: ClassVar[str] = "Delete it, or restore the file as epsearch wrote it."
    """What to do about a saved record that cannot be read."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields as `repr`, `str` and rich show them: thousands of counts would hide the rest."""
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
            UserError: the file is missing or does not hold such a record, perhaps since somebody edited it.
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


class EpsilonRange(Record):
    """The useful range of ε: Algorithm 2's ε_lower and ε_upper, powers of ten, lower <= upper."""

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
        """The two ends alone, which Section 4.3 suggests where trials are costly (one value if they agree)."""
        return sorted({self.lower, self.upper})

    def suggest(
        self,
        trial: optuna.Trial,
        name: str = "eps",
        mode: Literal["grid", "endpoints", "continuous"] = "grid",
    ) -> float:
        """Let an Optuna trial choose ε in this range, inside anyone's own objective.

        `grid` and `endpoints` are categorical choices; `continuous` is log-uniform between the ends.
        """
        if mode == "continuous":
            return trial.suggest_float(name, self.lower, self.upper, log=True)
        choices = self.grid() if mode == "grid" else self.endpoints()
        return float(trial.suggest_categorical(name, choices))

    def tune_domain(self, mode: Literal["grid", "endpoints", "continuous"] = "grid") -> Any:
        """The same as a Ray Tune search-space domain: `choice` of the points, or `loguniform`.

        Raises:
            ImportError: Ray Tune is not installed; the message names the package.
        """
        try:
            from ray import tune
        except ImportError as error:
            raise ImportError("tune_domain() needs Ray Tune: pip install 'ray[tune]'") from error
        if mode == "continuous":
            return tune.loguniform(self.lower, self.upper)
        return tune.choice(self.grid() if mode == "grid" else self.endpoints())


class Histogram(Record):
    """Counts of ẑ in bins of equal width in log10: bin i holds 10**(i/50) <= z < 10**((i+1)/50).

    Only the occupied stretch is kept: `counts[j]` belongs to bin `start + j`.
    """

    start: int = 0
    counts: list[Count] = []
    zeros: Count = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        # A bin beyond what a float can be would make figures of any size.
        first, last = self.start // BINS_PER_DECADE, (self.start + len(self.counts)) // BINS_PER_DECADE
        if not -324 <= first <= last <= 309:
            raise ValueError(f"its bins reach from 1e{first} to 1e{last}, beyond what a float can hold")
        return self

    @property
    def total(self) -> int:
        """Elements counted, exact zeros included."""
        return sum(self.counts) + self.zeros

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of elements together."""
        filled = [part for part in (self, other) if part.counts]
        zeros = self.zeros + other.zeros
        if not filled:
            return Histogram(zeros=zeros)
        start = min(part.start for part in filled)
        counts = [0] * (max(part.start + len(part.counts) for part in filled) - start)
        for part in filled:
            for index, count in enumerate(part.counts, start=part.start - start):
                counts[index] += count
        return Histogram(start=start, counts=counts, zeros=zeros)

    def above(self, eps: float) -> float:
        """Share of all elements with z > eps, 0 to 1; exact at powers of ten, interpolated in a bin elsewhere."""
        if not self.total:
            return math.nan
        position = math.log10(eps) * BINS_PER_DECADE - self.start
        # log10 of a power of ten times 50 can land a rounding error beside the edge it denotes.
        if abs(position - round(position)) < 1e-9:
            position = round(position)
        first = math.floor(position)
        if first < 0:
            return sum(self.counts) / self.total
        if first >= len(self.counts):
            return 0.0
        partial = self.counts[first] * (1 - (position - first))
        return (sum(self.counts[first + 1 :]) + partial) / self.total


class Layer(Record):
    """What the probe saw in one parameter tensor.

    `numel` elements, of them `zeros` exact zeros and `nonfinite` NaN or infinite (both left out of the
    percentiles). `p2` and `p98` are the lower and the upper percentile of z: the 2nd and 98th unless
    `ProbeResult.percentiles` says otherwise; None where nothing was left to measure.
    """

    name: str
    numel: Count
    zeros: Count
    nonfinite: Count
    p2: Positive | None
    p98: Positive | None
    histogram: Histogram

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.zeros + self.nonfinite > self.numel:
            raise ValueError(
                f"{self.zeros} zeros and {self.nonfinite} nonfinite are more than the {self.numel} elements of numel"
            )
        if self.p2 is not None and self.p98 is not None and self.p2 > self.p98:
            raise ValueError(f"p2, {self.p2:g}, is above p98, {self.p98:g}")
        return self


class ProbeResult(Record):
    """The range found and what it was read from. `settings` says how the probe trained (lr, eps, epochs …)."""

    remedy: ClassVar[str] = "Delete it to probe again."

    range: EpsilonRange
    optimizer: str
    percentiles: tuple[float, float]
    layers: Annotated[list[Layer], Field(min_length=1)]
    skipped: list[str] = []
    """Parameters without state: they got no gradient."""
    settings: dict[str, FiniteFloat | int | str | None] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles are {low:g} and {high:g}; they must ascend, from 0 to 100")
        if not any(layer.histogram.total for layer in self.layers):
            raise ValueError("the histograms of all layers are empty")
        batches = self.settings.get("batches_per_epoch")
        if batches is not None and not (isinstance(batches, int) and batches >= 0):
            raise ValueError("settings.batches_per_epoch must be a whole number, 0 or above")
        return self

    def __str__(self) -> str:
        from epsearch.labels import count, label, one_line

        reach = f"{label('eps', self.range.lower)} to {label('eps', self.range.upper)}"
        return f"range of eps for {one_line(self.optimizer)}: {reach}, read from {count(len(self.layers), 'layer')}"

    @property
    def histogram(self) -> Histogram:
        """All layers pooled."""
        pooled = Histogram()
        for layer in self.layers:
            pooled = pooled.merge(layer.histogram)
        return pooled

    def adaptive_fraction(self, eps: float) -> float:
        """Share of all elements of ẑ above ε (Table 2): 1 is fully adaptable, 0 fully immutable."""
        if not eps > 0:
            raise UserError(f"adaptive_fraction: eps must be above 0, not {eps}.")
        return self.histogram.above(eps)

    def plot(self) -> go.Figure:
        """Histogram of log10 ẑ per layer and pooled, with dashed lines at the ends of the range."""
        from epsearch.report.histogram import histogram_info, plot_histogram

        return plot_histogram(histogram_info(self))

    def _repr_html_(self) -> str:
        from epsearch.report.notebook import probe_html

        return probe_html(self)


class EpochReading(Record):
    """ẑ of all elements after `epoch` epochs of training (1: after the first), and the range that Algorithm 2 reads."""

    epoch: Annotated[int, Field(gt=0)]
    range: EpsilonRange
    histogram: Histogram


class ProbeHistory(Record):
    """How ẑ moved during a training, epoch by epoch (Figs. 8, 9, 12, 14 to 17; Table 2).

    Of all tensors pooled: a record for each tensor and epoch would be a hundred times as large. `settings` are those
    of the first reading (lr, eps, beta2 …).
    """

    optimizer: str
    epochs: Annotated[list[EpochReading], Field(min_length=1)]
    settings: dict[str, FiniteFloat | int | str | None] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(after.epoch <= before.epoch for before, after in itertools.pairwise(self.epochs)):
            raise ValueError("the epochs do not ascend")
        eps = self.settings.get("eps")
        if eps is not None and not (isinstance(eps, int | float) and 0 <= eps < math.inf):
            raise ValueError("settings.eps must be a number, 0 or above")
        return self

    def __str__(self) -> str:
        from epsearch.labels import count, label, one_line

        reach = f"{label('eps', self.range.lower)} to {label('eps', self.range.upper)}"
        return (
            f"{count(len(self.epochs), 'epoch')} of {one_line(self.optimizer)}, range of eps after the first: {reach}"
        )

    @property
    def range(self) -> EpsilonRange:
        """The useful range of ε as the first epoch recorded told it."""
        return self.epochs[0].range

    @property
    def eps(self) -> float | None:
        """The ε that was trained with, where the optimizer has one above 0."""
        eps = self.settings.get("eps")
        return float(eps) if eps else None

    def adaptive_fraction(self, eps: float) -> list[float]:
        """Share of all elements of ẑ above ε after each epoch recorded (Table 2 has the first): (epochs,), 0 to 1."""
        if not eps > 0:
            raise UserError(f"adaptive_fraction: eps must be above 0, not {eps}.")
        return [reading.histogram.above(eps) for reading in self.epochs]

    def plot(self) -> go.Figure:
        """Histograms of log10 ẑ at several epochs, with a dashed line at the ε in use."""
        from epsearch.report.progress import plot_progress, progress_info

        return plot_progress(progress_info(self))

    def plot_adaptive_fraction(self) -> go.Figure:
        """Share of ẑ above each power of ten, and above the ε in use, over the epochs."""
        from epsearch.report.progress import fraction_info, plot_fractions

        return plot_fractions(fraction_info(self))


class Cell(Record):
    """The hyperparameters of one trial. `eps` and `beta2` are None where the optimizer has none."""

    optimizer: str
    lr: float
    eps: float | None = None
    beta2: float | None = None


class Ending(Record):
    """How a trial ended; its values were reported on the way. `error` is the exception, bounded.

    `history` is its first seed's, where the study records them.
    """

    kind: Literal["finished", "pruned", "diverged", "raised", "died", "timed_out", "lost"]
    error: ErrorText | None = None
    history: ProbeHistory | None = None


FAILURES = ("raised", "died", "timed_out")
"""Endings without a result whose cause can be fixed."""

TrialState = Literal["complete", "pruned", "failed", "running", "waiting"]


class Trial(Record):
    """One cell and its outcome.

    `value` is the mean over seeds of the best finite metric over the epochs (Figs. 6 and 7), `spread` the
    sample standard deviation over seeds (None for one seed). `eps` and `beta2` are None for `sgd_momentum`.
    `fail_reason`: diverged (no finite value), raised (the user's code), died (its process did, however often it was
    restarted), timed_out (longer than `engine.trial_timeout`), lost (the driver was killed). `epochs` counts those of
    all seeds, `seed_epochs` those of each (empty while it runs, and where an older version did not note them).
    `history` is [(step, metric), …] as reported for the pruner: seed after seed, epoch after epoch; with the Wilcoxon
    pruner [(seed, its best), …]. `curves` has it by seed.
    """

    number: int
    optimizer: str
    state: TrialState
    lr: float | None = None
    eps: float | None = None
    beta2: float | None = None
    value: float | None = None
    spread: float | None = None
    seed_values: list[float] = []
    seed_epochs: list[int] = []
    epochs: int = 0
    seconds: float | None = None
    fail_reason: str | None = None
    error: ErrorText | None = None
    history: list[tuple[int, float]] = []

    @functools.cached_property
    def cell(self) -> dict[str, float]:
        """The hyperparameters alone, as `{"lr": …, "eps": …, "beta2": …}`."""
        values = {"lr": self.lr, "eps": self.eps, "beta2": self.beta2}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def curves(self) -> list[list[float]]:
        """The metric after each epoch, a list for each seed; empty where `history` cannot tell the seeds apart."""
        if sum(self.seed_epochs) != len(self.history):
            return []
        values = (value for _, value in self.history)
        return [list(itertools.islice(values, epochs)) for epochs in self.seed_epochs]


Goal = Literal["maximize", "minimize"]


def best_trial(trials: Iterable[Trial], goal: Goal) -> Trial | None:
    """The trial with the best value, whatever its state; the earliest where several tie; None of none."""
    sign = 1 if goal == "maximize" else -1

    def rank(trial: Trial) -> tuple[bool, float, int]:
        return (trial.value is not None, sign * (trial.value or 0.0), -trial.number)

    return max(trials, key=rank, default=None)


class Outcome(Record):
    """A study as the report needs it: what was run, the probe (None where ε was given), every trial.

    `planned` is how many trials of the searched arm the last run was to end with, 0 if it was not recorded;
    `progress` is the history of the best trial, where the study records them.
    """

    name: str
    metric: str
    goal: Goal
    optimizer: str
    probe: ProbeResult | None
    trials: list[Trial]
    directory: Path
    sampler: str = "grid"
    planned: int = 0
    progress: ProbeHistory | None = None

    def __str__(self) -> str:
        from epsearch.labels import count, measured, one_line, rounded

        lines = [f"{one_line(self.name)} ({one_line(self.optimizer)}): {count(len(self.trials), 'trial')}"]
        if self.probe is not None:
            lines.append(str(self.probe))
        if self.best is not None:
            cell = ", ".join(f"{name} {rounded(name, value)}" for name, value in self.best.cell.items())
            lines.append(f"best {one_line(self.metric)}: {measured(self.best)} at {cell} (trial {self.best.number})")
        return "\n".join([*lines, f"report: {self.directory / 'report.html'}"])

    def best_of(self, optimizer: str) -> Trial | None:
        """The complete trial of one arm with the best value; the earliest where several tie."""
        complete = (trial for trial in self.trials if trial.state == "complete" and trial.value is not None)
        return best_trial((trial for trial in complete if trial.optimizer == optimizer), self.goal)

    @property
    def best(self) -> Trial | None:
        """The best complete trial of the searched optimizer (baselines are for comparison)."""
        return self.best_of(self.optimizer)

    def _repr_html_(self) -> str:
        from epsearch.report.notebook import outcome_html

        return outcome_html(self)
