"""What a person sees while a study runs: live progress on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
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
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from epsearch.config import StudyConfig
from epsearch.labels import count, rounded
from epsearch.plan import Cost
from epsearch.progress import Listener
from epsearch.records import FAILURES, Cell, Ending, Outcome, ProbeResult, Trial
from epsearch.wording import mask_password

if TYPE_CHECKING:
    from typing import Self


def describe_cell(cell: Cell | Trial) -> str:
    """`lr 1e-3, eps 1e-6, beta2 0.999`."""
    parts = [("lr", cell.lr), ("eps", cell.eps), ("beta2", cell.beta2)]
    return ", ".join(f"{name} {rounded(name, value)}" for name, value in parts if value is not None)


def describe_cost(cost: Cost) -> str:
    """`25 trials, 501 epochs`."""
    epochs = "epochs as your code says" if cost.epochs is None else count(cost.epochs, "epoch")
    return f"{count(cost.trials, 'trial')}, {epochs}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def say(console: Console, text: str = "") -> None:
    """Print text as it is: brackets in a path are no markup, and the terminal wraps its own lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class Terminal(Listener):
    """Shows a study on `console`: stages as lines, trials as a bar that is redrawn, or as lines."""

    def __init__(self, console: Console, config: StudyConfig) -> None:
        self._console, self._config = console, config
        self._sign = 1 if config.goal == "maximize" else -1
        self._best: tuple[float, str] | None = None
        self._total = self._done = self._settled = 0
        self._began = time.monotonic()
        self._task: TaskID | None = None
        self._bar = self._progress(MofNCompleteColumn(), TextColumn("{task.fields[now]}"))
        self._files: dict[str, TaskID] = {}
        self._downloads = self._progress(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())

    def _progress(self, *columns: ProgressColumn) -> Progress:
        bar = BarColumn(bar_width=24)
        return Progress(
            TextColumn("{task.description}"),
            bar,
            *columns,
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._downloads.stop()
        self._bar.stop()

    def downloading(self, file: str, done: int, total: int | None) -> None:
        """A bar for each file; elsewhere a line as each begins."""
        if file not in self._files:
            if not self._console.is_terminal:
                self.stage(f"downloading {file}" + (f" ({total / 1e6:,.1f} MB)" if total else ""))
            self._downloads.start()
            self._files[file] = self._downloads.add_task(escape(file), total=total)
        self._downloads.update(self._files[file], completed=done, total=total)

    def stage(self, text: str) -> None:
        """One line."""
        say(self._console, text)

    def probed(self, result: ProbeResult, *, reused: bool) -> None:
        """The range, and what it saves."""
        low, high = result.range.lower, result.range.upper
        points = len(result.range.grid())
        origin = " (from the record of an earlier probe)" if reused else ""
        self.stage(f"range of eps: {rounded('eps', low)} to {rounded('eps', high)}, {points} powers of ten{origin}")

    def trials_planned(self, total: int, settled: int) -> None:
        """How many there are to run."""
        self._total, self._settled = total, settled
        self._began = time.monotonic()
        if total == settled:
            self.stage(f"nothing to do: {'all ' * (total > 1)}{count(total, 'trial')} settled already")
            return
        self.stage(f"trials: {total}" + (f", of which {settled} are settled by earlier runs" if settled else ""))
        # One live display at a time.
        self._downloads.stop()
        self._bar.start()
        self._task = self._bar.add_task("trials", total=total, completed=settled, now="starting workers")

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        """On the bar."""
        self._show(f"trial {number}")

    def trial_reported(self, optimizer: str, number: int, epochs: int, value: float) -> None:
        """On the bar."""
        planned = self._config.trial_epochs
        self._show(f"trial {number} epoch {epochs}" + (f"/{planned}" if planned else ""))

    def trial_ended(self, optimizer: str, number: int, cell: Cell, ending: Ending, value: float | None) -> None:
        """A line for each trial where lines are shown; failures are a line everywhere."""
        self._done += 1
        where = f"{optimizer}: {describe_cell(cell)}"
        if value is not None and (self._best is None or self._sign * value > self._sign * self._best[0]):
            self._best = (value, where)
        if self._task is not None:
            self._bar.update(self._task, completed=self._settled + self._done)
        outcome = f"{self._config.metric.name} {value:.5g}" if value is not None else ending.kind
        if ending.error:
            outcome += f": {ending.error.splitlines()[0]:.200}"
        if ending.error or ending.kind in FAILURES or not self._console.is_terminal:
            of = f"{self._settled + self._done}/{self._total}"
            self.stage(f"[{of}] {where}: {outcome}{self._summary()}")
        else:
            self._show(f"trial {number} done")

    def _show(self, now: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, now=escape(now + self._summary()))

    def _summary(self) -> str:
        parts = []
        if self._best:
            parts.append(f"best {self._best[0]:.5g}")
        if self._done:
            each = (time.monotonic() - self._began) / self._done
            parts.append(f"{duration(each * (self._total - self._settled - self._done))} left")
        return "".join(f" | {part}" for part in parts)


def print_outcome(console: Console, outcome: Outcome, study: Path, overrides: list[str]) -> None:
    """At the end: the range found, the best cell, the next commands."""
    say(console)
    if outcome.probe is not None:
        found = outcome.probe.range
        say(
            console,
            f"Range of eps  {rounded('eps', found.lower)} to {rounded('eps', found.upper)}: "
            f"{len(found.grid())} values to try instead of 21",
        )
    best = outcome.best
    if best is not None and best.value is not None:
        spread = f" ± {best.spread:.2g} over {len(best.seed_values)} seeds" if best.spread is not None else ""
        say(console, f"Best cell     {outcome.metric} {best.value:.5g}{spread} at {describe_cell(best)}")
    near = outcome.model_copy(update={"directory": _relative(outcome.directory)})
    commands = []
    if outcome.trials:
        from epsearch.report.verdict import command, verdict

        judged = verdict(outcome)
        say(console, f"Verdict       {judged.headline}")
        for step in judged.advice:
            say(console, f"              {step.text}")
        commands = [command(near, step) for step in judged.advice if step.settings]
    for arm in sorted({trial.optimizer for trial in outcome.trials} - {outcome.optimizer}):
        if (other := outcome.best_of(arm)) and other.value is not None:
            say(console, f"{arm:<13} {outcome.metric} {other.value:.5g} at {describe_cell(other)}")
    failed = [trial for trial in outcome.trials if trial.state == "failed" and trial.fail_reason in FAILURES]
    if failed:
        say(
            console,
            f"{count(len(failed), 'trial')} failed without a result; tracebacks are in {outcome.directory / 'logs'}; "
            "the same command tries again.",
        )
    place = shlex.quote(str(near.directory))
    say(console, "\nNext")
    for line in (f"open {place}/report.html", f"epsearch dashboard {place}", *commands):
        say(console, f"  {line}")
    if best is not None and len(best.seed_values) < 3:
        kept = [each for each in overrides if each.partition("=")[0] not in ("search.lr", "training.seeds")]
        settings = [*kept, f"search.lr={best.lr:g}", "training.seeds=[0,1,2]"]
        again = " ".join(f"--set {shlex.quote(mask_password(setting))}" for setting in settings)
        say(
            console,
            f"  epsearch run {shlex.quote(str(study))} {again} --dir {place}-seeds    (how sure is the best lr's row?)",
        )


def _relative(path: Path) -> Path:
    """Shorter to read and to type, where the path is below the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
