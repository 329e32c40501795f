"""One study for each of several optimizers, and the page that compares them: `epsearch run --optimizers`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from epsearch import pipeline
from epsearch.cli.text import print_fact, print_text, print_words
from epsearch.core.errors import StudyError, UserError
from epsearch.core.messages import shown, suggestion
from epsearch.records.outcome import Outcome
from epsearch.registry.optimizers import ADAPTIVE, OPTIMIZERS
from epsearch.study.config import StudyConfig

WIDTH = 12
"""Characters before the text of a fact."""


def run_each(
    console: Console,
    study: Path,
    settings: Sequence[str],
    directory: Path | None,
    optimizers: str,
    run_one: Callable[[StudyConfig, Path], Outcome],
) -> None:
    """Run or resume the study with each of `optimizers`, comma-separated, in DIR/NAME; write DIR/comparison.html.

    Every study is read before the first one runs.

    Raises:
        UserError: a name or setting is wrong.
        StudyError: a study could not be completed; the others ran, and are compared.
    """
    from epsearch.report.analysis.verdict import verdict
    from epsearch.report.html.comparison import won
    from epsearch.report.output.write import write_comparison

    name = pipeline.load(study, settings).name
    place = directory or Path("runs") / name
    configs = {each: pipeline.load(study, [*settings, *_overrides(name, each)]) for each in _names(optimizers)}
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for number, (optimizer, config) in enumerate(configs.items(), start=1):
        console.print(f"\n{optimizer} ({number} of {len(configs)})", style="bold", highlight=False)
        try:
            outcomes.append(run_one(config, place / optimizer))
        except StudyError as error:
            failures.append(f"{optimizer}: {error}")
            print_words(console, str(error), "red")
        else:
            print_words(console, verdict(outcomes[-1]).headline, "bold")
    if outcomes:
        page = write_comparison(outcomes, place / "comparison.html")
        print_text(console)
        print_words(console, won(outcomes), "bold green")
        for outcome in outcomes:
            print_fact(console, outcome.optimizer, verdict(outcome).line or "", WIDTH)
        print_fact(console, "Comparison", str(page), WIDTH)
    if failures:
        raise StudyError(" ".join(failures))


def _names(optimizers: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in optimizers.split(",")))
    for name in names:
        if name not in ADAPTIVE:
            raise UserError(f"--optimizers: {shown(name)} is not an optimizer. {suggestion(name, ADAPTIVE)}")
    return names


def _overrides(name: str, optimizer: str) -> list[str]:
    """The settings of the study of one optimizer. Its name is its own: studies may share a storage."""
    settings = [f"optimizer.name={optimizer}", f"name={json.dumps(f'{name}-{optimizer}', ensure_ascii=False)}"]
    return settings if "beta2" in OPTIMIZERS[optimizer].takes else [*settings, "search.beta2=auto"]
