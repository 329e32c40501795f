"""The end of a study on a terminal: the finding, a small map, the line to copy, one next command."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.text import Text

from epsearch.cli import blocks
from epsearch.cli.text import describe_cell, has_blocks, print_fact, print_text, print_words
from epsearch.core.commands import command as epsearch
from epsearch.core.messages import one_line
from epsearch.core.numbers import count
from epsearch.records.outcome import Outcome
from epsearch.records.text import measured
from epsearch.records.trial import FAILURES, Trial
from epsearch.report.analysis.advice import SEEDS, Advice, command, priced, repeat
from epsearch.report.analysis.verdict import Verdict, verdict

WIDTH = 9
"""Characters before the text of a fact."""


def print_finding(console: Console, outcome: Outcome) -> None:
    """Print the verdict on `outcome`, whose directory is as commands should name it."""
    judged = verdict(outcome)
    print_text(console)
    print_words(console, judged.headline, "bold yellow" if judged.kind == "undecided" else "bold green")
    for text in (judged.action, judged.sure):
        if text:
            print_words(console, text)
    if has_blocks(console) and (lines := blocks.best_values(outcome, console.width, judged.tolerance or 0.0)):
        print_text(console)
        for row in lines:
            console.print(row, no_wrap=True)
    print_text(console)
    if judged.line:
        copied = Text().append("Copy".ljust(WIDTH), "dim").append(judged.line, "bold")
        console.print(copied, highlight=False, soft_wrap=True)
    for name, trial in _best(outcome):
        text = f"{one_line(outcome.metric, 60)} {measured(trial)} at {describe_cell(trial)}"
        print_fact(console, name, text, WIDTH)
    failed = [trial for trial in outcome.trials if trial.state == "failed" and trial.fail_reason in FAILURES]
    if failed:
        logs = outcome.directory / "logs"
        text = f"{count(len(failed), 'trial')} without a result; tracebacks are in {logs}; rerun the command to retry."
        print_fact(console, "Failed", text, WIDTH, "red")
    print_fact(console, "Report", str(outcome.directory / "report.html"), WIDTH)
    why, line = _next(outcome, judged)
    print_fact(console, "Next", why, WIDTH)
    print_text(console, f"\n  {line}")


def _best(outcome: Outcome) -> list[tuple[str, Trial]]:
    """The best trial of the searched optimizer and of each baseline, with a name."""
    baselines = sorted({trial.optimizer for trial in outcome.trials} - {outcome.optimizer})
    names = [("Best", outcome.optimizer), *(("SGD" if each == "sgd_momentum" else each, each) for each in baselines)]
    found = [(name, outcome.best_of(optimizer)) for name, optimizer in names]
    return [(name, trial) for name, trial in found if trial is not None]


def _next(outcome: Outcome, judged: Verdict) -> tuple[str, str]:
    """The one step that would settle the most: why, at what cost, and its command."""
    step = next((each for each in judged.advice if each.settings is not None), None) or _repetition(outcome)
    if step is None:
        return "Look at every trial in Optuna's dashboard:", epsearch("dashboard", outcome.directory)
    return f"{step.text} {step.cost}".rstrip(), command(outcome, step)


def _repetition(outcome: Outcome) -> Advice | None:
    """What confirms a finding: the best lr with more seeds."""
    advice, best = repeat(outcome), outcome.best
    if advice is None or best is None:
        return None
    arm = [trial for trial in outcome.trials if trial.optimizer == outcome.optimizer]
    cells = len({(trial.eps, trial.beta2) for trial in arm}) if outcome.sampler == "grid" else len(arm)
    trials = cells + len(outcome.trials) - len(arm)
    cost = priced(advice, outcome, trials * SEEDS[0] / max(len(best.seed_values), 1))
    return replace(cost, text=f"To confirm it, {advice.text}.", trials=trials)
