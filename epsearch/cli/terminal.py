"""Progress of a study: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from epsearch.cli import blocks
from epsearch.cli.text import describe_cell, duration, has_blocks, print_words
from epsearch.cli.time_left import TimeLeft
from epsearch.core.numbers import count, rounded
from epsearch.records.listener import Best, Listener
from epsearch.records.lr_test import LrTest
from epsearch.records.outliers import explain_ranges
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import FAILURES, Cell, Ending
from epsearch.records.widening import Widening
from epsearch.study.box import WIDE
from epsearch.study.config import StudyConfig
from epsearch.study.space import NEAREST

if TYPE_CHECKING:
    from typing import Self


def _reach(ends: tuple[float, float]) -> str:
    return " to ".join(rounded("lr", end) for end in ends)


class Terminal(Listener):
    """Shows a study on `console`: stages as lines, trials as a progress bar, or as lines if it is not a terminal."""

    def __init__(self, console: Console, config: StudyConfig) -> None:
        self._console, self._config = console, config
        # A bar that is redrawn would write over a debugger's prompt.
        self._live = console.is_terminal and config.engine.name != "inline"
        self._sign = 1 if config.goal == "maximize" else -1
        self._best: Best | None = None
        self._total = self._ended = self._earlier = 0
        self._began = 0.0
        self._running: set[tuple[str, int]] = set()
        self._time_left = TimeLeft()
        self._task: TaskID | None = None
        self._bar = self._progress(MofNCompleteColumn(), TextColumn("{task.fields[now]}"), transient=True)
        self._files: dict[str, TaskID] = {}
        self._downloads = self._progress(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        # Without a total, the bar moves back and forth: how many steps an epoch has is not known before the probe.
        self._work = self._progress(TimeElapsedColumn(), TextColumn("{task.fields[now]}"), transient=True)

    def _progress(self, *columns: ProgressColumn, transient: bool = False) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            *columns,
            console=self._console,
            disable=not self._live,
            transient=transient,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._downloads.stop()
        self._end_work()
        self._end_trials()

    def downloading(self, file: str, done: int, total: int | None) -> None:
        """Show a bar for each file, or a line when its download starts."""
        if file not in self._files:
            if not self._live:
                self.stage(f"downloading {file}" + (f" ({total / 1e6:,.1f} MB)" if total else ""))
            self._downloads.start()
            self._files[file] = self._downloads.add_task(escape(file), total=total)
        self._downloads.update(self._files[file], completed=done, total=total)

    def stage(self, text: str) -> None:
        """Print a line."""
        if self._ended == self._total:
            self._end_trials()
        print_words(self._console, text)

    def working(self, text: str, steps: int | None = None) -> None:
        """Print a line, and under it a bar with the time that has passed."""
        self.stage(text)
        # Rich allows one live display at a time.
        self._downloads.stop()
        self._work.start()
        self._work.add_task("starting", total=steps, now="")

    def stepped(self, steps: int) -> None:
        """Show it on the bar."""
        for task in self._work.tasks:
            of = "" if task.total is None else f"/{task.total:.0f}"
            self._work.update(task.id, completed=steps, description="training", now=f"step {steps:,}{of}")

    def probed(self, result: ProbeResult, *, reused: bool) -> None:
        """Print the range of ε, why the paper's differs, and a small histogram of ẑ."""
        self._end_work()
        low, high = result.range.lower, result.range.upper
        points = len(result.range.grid())
        origin = " (from an earlier probe)" if reused else ""
        self.stage(
            f"range of eps: {rounded('eps', low)} to {rounded('eps', high)}, {count(points, 'power')} of ten{origin}"
        )
        if explained := explain_ranges(result):
            self.stage(explained)
        if has_blocks(self._console):
            for line in blocks.histogram(result, self._console.width - 2):
                self._console.print("  ", line, sep="", no_wrap=True)

    def lr_tested(self, test: LrTest, *, reused: bool) -> None:
        """Print the suggested lr and where it is searched."""
        self._end_work()
        origin = " (from an earlier test)" if reused else ""
        grid = self._config.engine.sampler == "grid"
        if test.suggestion is None:
            box = (WIDE.values[0], WIDE.values[-1]) if grid else (test.low, test.high)
            self.stage(f"lr test: no lr suggested ({test.reason}); searching {_reach(box)}{origin}")
            return
        where = f"the {NEAREST} nearest half decades" if grid else _reach((test.low, test.high))
        self.stage(
            f"lr test: {rounded('lr', test.suggestion)} suggested at eps {rounded('eps', test.eps or 0)}; "
            f"searching {where} around the ridge{origin}"
        )

    def trials_planned(self, total: int, finished: int, best: Best | None) -> None:
        """Print the number of trials and start the bar."""
        self._total, self._ended, self._earlier, self._best = total, finished, finished, best
        if total == finished:
            self.stage(f"nothing to do: {f'all {total:,} trials have' if total > 1 else '1 trial has'} finished")
            return
        self.stage(f"trials: {total}" + (f", of which {finished} finished in earlier runs" if finished else ""))
        self._downloads.stop()
        self._bar.start()
        self._began = time.monotonic()
        now = escape(f"starting workers{self._summary()}")
        self._task = self._bar.add_task("trials", total=total, completed=finished, now=now)

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """Show it on the bar."""
        self._running.add((optimizer, number))
        self._time_left.started((optimizer, number), time.monotonic())
        self._show(f"trial {number}")

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """Show it on the bar."""
        planned = self._config.trial_epochs
        self._show(f"trial {number} epoch {epochs}" + (f"/{planned}" if planned else ""))

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """Print a line for a failed trial, or for every trial if there is no bar."""
        self._ended += 1
        self._running.discard((optimizer, number))
        self._time_left.finished((optimizer, number), time.monotonic())
        searched = optimizer == self._config.optimizer.name
        better = self._best is None or (value is not None and self._sign * value > self._sign * self._best.value)
        if searched and value is not None and better:
            self._best = Best(value, cell)
        if self._task is not None:
            self._bar.update(self._task, completed=self._ended)
        outcome = f"{self._config.metric.name} {value:.5g}" if value is not None else ending.kind
        if ending.error:
            outcome += f": {ending.error.splitlines()[0]:.200}"
        if ending.error or ending.kind in FAILURES or not self._live:
            of = f"{self._ended}/{self._total}"
            self.stage(f"[{of}] {optimizer}: {describe_cell(cell)}: {outcome}{self._summary()}")
        else:
            self._show(f"trial {number} done")

    def widened(self, widening: Widening) -> None:
        """Print why there are more trials, and extend the bar."""
        self._total += widening.trials
        if self._task is not None:
            self._bar.update(self._task, total=self._total)
            self._bar.start()
        self.stage(
            f"the best lr, {rounded('lr', widening.lr)}, is the {widening.edge} tried at eps "
            f"{rounded('eps', widening.eps)}: {count(widening.trials, 'more trial')}, "
            f"{'up' if widening.reach > widening.lr else 'down'} to lr {rounded('lr', widening.reach)}"
        )

    @property
    def best(self) -> str:
        """The best trial so far, including earlier runs: `accuracy 0.97 at lr 1e-3, …`; empty if there is none."""
        if self._best is None:
            return ""
        return f"{self._config.metric.name} {self._best.value:.5g} at {describe_cell(self._best.cell)}"

    def _end_work(self) -> None:
        self._work.stop()
        for task in self._work.task_ids:
            self._work.remove_task(task)

    def _end_trials(self) -> None:
        """Replace the bar with a line."""
        if self._bar.live.is_started:
            self._bar.stop()
            took = duration(time.monotonic() - self._began)
            print_words(self._console, f"{count(self._ended - self._earlier, 'trial')} in {took}")

    def _show(self, now: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, now=escape(now + self._summary()))

    def _summary(self) -> str:
        parts = []
        if self._best:
            parts.append(f"best {self._best.value:.5g}")
        waiting = max(0, self._total - self._ended - len(self._running))
        if (seconds := self._time_left.seconds(waiting, time.monotonic())) is not None:
            parts.append(f"{duration(seconds)} left")
        return "".join(f" | {part}" for part in parts)
