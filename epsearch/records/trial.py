"""One trial: its hyperparameters and its result."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator

from epsearch.records.base import Record
from epsearch.records.probe import ProbeHistory

ERROR_LIMIT = 2000
"""Characters of an exception's message to keep."""


STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except newline and tab, bidirectional overrides, and surrogates, which UTF-8 cannot encode."""


def _readable(text: str) -> str:
    """`text` safe for files, databases and terminals: bounded, Unix line ends, `STEERING` characters escaped."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text[:ERROR_LIMIT])[:ERROR_LIMIT]


ErrorText = Annotated[str, AfterValidator(_readable)]
"""An exception's message, made safe to show."""


class Cell(Record):
    """The hyperparameters of one trial. `eps` and `beta2` are None where the optimizer has none."""

    optimizer: str
    lr: float
    eps: float | None = None
    beta2: float | None = None


class Ending(Record):
    """How a trial ended; its values were reported before. `error` is the exception, shortened.

    `history` is that of its first seed, if the study records histories.
    """

    kind: Literal["finished", "pruned", "diverged", "raised", "died", "timed_out", "lost"]
    error: ErrorText | None = None
    history: ProbeHistory | None = None


FAILURES = ("raised", "died", "timed_out")
"""Endings without a result whose cause the user can fix."""


TrialState = Literal["complete", "pruned", "failed", "running", "waiting"]


class Trial(Record):
    """One trial: its cell and its result.

    `value` is the mean over seeds of the best finite metric over the epochs (Figs. 6 and 7), `spread` the
    sample standard deviation over seeds (None for one seed). `eps` and `beta2` are None for `sgd_momentum`.
    `fail_reason`: diverged (no finite value), raised (an exception), died (its process died, also after
    restarts), timed_out (longer than `engine.trial_timeout`), lost (the driver was killed). `epochs` counts those of
    all seeds, `seed_epochs` those of each (empty while the trial runs, and in records of older versions).
    `history` is [(step, metric), …] as reported to the pruner: seed after seed, epoch after epoch; with the Wilcoxon
    pruner [(seed, its best), …]. `curves` splits it by seed.
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
        """The metric after each epoch, one list per seed; empty if `history` does not separate the seeds."""
        if sum(self.seed_epochs) != len(self.history):
            return []
        values = (value for _, value in self.history)
        return [list(itertools.islice(values, epochs)) for epochs in self.seed_epochs]


Goal = Literal["maximize", "minimize"]


def best_trial(trials: Iterable[Trial], goal: Goal) -> Trial | None:
    """The trial with the best value in any state; the earliest on a tie; None if there are no trials."""
    sign = 1 if goal == "maximize" else -1

    def rank(trial: Trial) -> tuple[bool, float, int]:
        return (trial.value is not None, sign * (trial.value or 0.0), -trial.number)

    return max(trials, key=rank, default=None)
