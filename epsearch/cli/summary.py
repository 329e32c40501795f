"""The summary printed when a study has finished."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from epsearch.cli.text import describe_cell, print_text
from epsearch.core.commands import command as epsearch
from epsearch.core.numbers import count, rounded
from epsearch.records.outcome import Outcome
from epsearch.records.trial import FAILURES


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the range of ε, the best cell, the verdict and the next commands; on a terminal, the finding."""
    near = outcome.model_copy(update={"directory": _relative(outcome.directory)})
    if console.is_terminal and outcome.trials:
        from epsearch.cli.finding import print_finding

        print_finding(console, near)
        return
    print_text(console)
    if outcome.probe is not None:
        found = outcome.probe.range
        print_text(
            console,
            f"Range of eps  {rounded('eps', found.lower)} to {rounded('eps', found.upper)}: "
            f"{count(len(found.grid()), 'value')} to try instead of 21",
        )
    test = outcome.lr_test
    if test is not None and test.suggestion is not None and test.eps is not None:
        suggested = f"lr {rounded('lr', test.suggestion)} at eps {rounded('eps', test.eps)}"
        print_text(console, f"Expected      {suggested}, higher where eps is larger")
    best = outcome.best
    if best is not None and best.value is not None:
        spread = f" ± {best.spread:.2g} over {len(best.seed_values)} seeds" if best.spread is not None else ""
        print_text(console, f"Best cell     {outcome.metric} {best.value:.5g}{spread} at {describe_cell(best)}")
    commands = []
    if outcome.trials:
        from epsearch.report.analysis.advice import command, repeat
        from epsearch.report.analysis.summary import widened
        from epsearch.report.analysis.verdict import verdict

        if beyond := widened(outcome):
            print_text(console, f"Widened       {beyond}")
        judged = verdict(outcome)
        print_text(console, f"Verdict       {judged.headline}")
        for text in (judged.action, judged.sure if judged.sure not in [step.text for step in judged.advice] else ""):
            if text:
                print_text(console, f"              {text}")
        if judged.line:
            print_text(console, f"To copy       {judged.line}")
        for step in judged.advice:
            print_text(console, f"              {step.text} {step.cost}".rstrip())
        commands = [command(near, step) for step in judged.advice if step.settings is not None]
        if again := repeat(outcome):
            commands += [f"# {again.text}", command(near, again)]
    for arm in sorted({trial.optimizer for trial in outcome.trials} - {outcome.optimizer}):
        if (other := outcome.best_of(arm)) and other.value is not None:
            print_text(console, f"{arm:<13} {outcome.metric} {other.value:.5g} at {describe_cell(other)}")
    failed = [trial for trial in outcome.trials if trial.state == "failed" and trial.fail_reason in FAILURES]
    if failed:
        print_text(
            console,
            f"{count(len(failed), 'trial')} failed without a result; tracebacks are in {outcome.directory / 'logs'}; "
            "rerun the same command to retry them.",
        )
    print_text(console, f"\nReport        {near.directory / 'report.html'}\n\nNext")
    for line in (epsearch("dashboard", near.directory), *commands):
        print_text(console, f"  {line}")


def _relative(path: Path) -> Path:
    """The path relative to the working folder if it is below it and does not look like an option."""
    folder = Path.cwd()
    below = path.is_relative_to(folder) and path != folder and not path.relative_to(folder).parts[0].startswith("-")
    return path.relative_to(folder) if below else path
