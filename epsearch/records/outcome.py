"""A study as the report needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from epsearch.records.base import Record
from epsearch.records.lr_test import LrTest
from epsearch.records.probe import ProbeHistory, ProbeResult
from epsearch.records.ridge import Ridge
from epsearch.records.setup import Setup
from epsearch.records.trial import Goal, Trial, best_trial
from epsearch.records.widening import Widening


class Outcome(Record):
    """A study as the report needs it: its settings, the probe (None if the study gives ε), every trial.

    `planned` is how many trials of the searched optimizer the last run aimed for, 0 if unknown. `history` is that of
    the best trial, if the study records histories. `axes` says how each hyperparameter was chosen: from points, which
    is the default, or from an interval. If lr is auto, `lr_test` is the test that found where to search it, and
    `widenings` are the steps beyond. `setup` is what was trained, None if unknown.
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
    history: ProbeHistory | None = None
    axes: dict[str, Literal["points", "interval"]] = {}
    lr_test: LrTest | None = None
    widenings: list[Widening] = []
    setup: Setup | None = None

    def __str__(self) -> str:
        from epsearch.core.messages import one_line
        from epsearch.core.numbers import count, rounded
        from epsearch.records.text import measured

        lines = [f"{one_line(self.name, 60)} ({one_line(self.optimizer, 60)}): {count(len(self.trials), 'trial')}"]
        if self.probe is not None:
            lines.append(str(self.probe))
        if self.best is not None:
            cell = ", ".join(f"{name} {rounded(name, value)}" for name, value in self.best.cell.items())
            lines.append(
                f"best {one_line(self.metric, 60)}: {measured(self.best)} at {cell} (trial {self.best.number})"
            )
        return "\n".join([*lines, f"report: {self.directory / 'report.html'}"])

    def is_grid(self, name: str) -> bool:
        """Whether the hyperparameter `name` was chosen from points."""
        return self.axes.get(name, "points") == "points"

    @property
    def ridge(self) -> Ridge | None:
        """Where the best lr was expected; None without a learning-rate test that suggests one."""
        return Ridge.of(self.probe, self.lr_test) if self.probe and self.lr_test else None

    def best_of(self, optimizer: str) -> Trial | None:
        """The complete trial of one optimizer with the best value; the earliest on a tie."""
        complete = (trial for trial in self.trials if trial.state == "complete" and trial.value is not None)
        return best_trial((trial for trial in complete if trial.optimizer == optimizer), self.goal)

    @property
    def best(self) -> Trial | None:
        """The best complete trial of the searched optimizer; baselines do not count."""
        return self.best_of(self.optimizer)

    def _repr_html_(self) -> str:
        from epsearch.report.html.notebook import outcome_html

        return outcome_html(self)
