"""The summary printed when a study has finished."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from epsearch.cli.terminal import describe_cell, say
from epsearch.core.commands import command as epsearch
from epsearch.core.numbers import count, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.trial import FAILURES


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the range of ε, the best cell, the verdict and the next commands."""
    say(console)
    if outcome.probe is not None:
        found = outcome.probe.range
        say(
            console,
            f"Range of eps  {rounded('eps', found.lower)} to {rounded('eps', found.upper)}: "
            f"{count(len(found.grid()), 'value')} to try instead of 21",
        )
    best = outcome.best
    if best is not None and best.value is not None:
        spread = f" ± {best.spread:.2g} over {len(best.seed_values)} seeds" if best.spread is not None else ""
        say(console, f"Best cell     {outcome.metric} {best.value:.5g}{spread} at {describe_cell(best)}")
    near = outcome.model_copy(update={"directory": _relative(outcome.directory)})
    commands = []
    if outcome.trials:
        from epsearch.report.analysis.advice import command, repeat
        from epsearch.report.analysis.verdict import verdict

        judged = verdict(outcome)
        say(console, f"Verdict       {judged.headline}")
        for step in judged.advice:
            say(console, f"              {step.text}")
        commands = [command(near, step) for step in judged.advice if step.settings is not None]
        if again := repeat(outcome):
            commands += [f"# {again.text}", command(near, again)]
    for arm in sorted({trial.optimizer for trial in outcome.trials} - {outcome.optimizer}):
        if (other := outcome.best_of(arm)) and other.value is not None:
            say(console, f"{arm:<13} {outcome.metric} {other.value:.5g} at {describe_cell(other)}")
    failed = [trial for trial in outcome.trials if trial.state == "failed" and trial.fail_reason in FAILURES]
    if failed:
        say(
            console,
            f"{count(len(failed), 'trial')} failed without a result; tracebacks are in {outcome.directory / 'logs'}; "
            "rerun the same command to retry them.",
        )
    say(console, f"\nReport        {near.directory / 'report.html'}\n\nNext")
    for line in (epsearch("dashboard", near.directory), *commands):
        say(console, f"  {line}")


def _relative(path: Path) -> Path:
    """The path relative to the working folder if it is below it and does not look like an option."""
    folder = Path.cwd()
    below = path.is_relative_to(folder) and path != folder and not path.relative_to(folder).parts[0].startswith("-")
    return path.relative_to(folder) if below else path
