"""What to do next after a study, and the command that does it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace

from epsearch.core.commands import command as epsearch_command
from epsearch.core.numbers import count
from epsearch.records.epsilon import power_of_ten
from epsearch.records.outcome import Outcome

SEEDS = (3, 10)
"""Numbers of seeds to suggest, one after the other; more would hardly reduce the noise."""


@dataclass(frozen=True)
class Advice:
    """A next step.

    `settings` are `key=value` overrides of the study to run: empty to resume it unchanged, None if there is nothing to
    run. `word` is appended to the study's name if the settings need a new study.
    """

    text: str
    settings: tuple[str, ...] | None = None
    word: str = "next"
    trials: int | None = None
    seconds: float | None = None

    @property
    def cost(self) -> str:
        """`About 35 trials, 12 minutes of training.`, or an empty string if unknown."""
        if self.trials is None:
            return ""
        text = f"About {count(self.trials, 'trial')}"
        if self.seconds is None:
            return f"{text}."
        minutes = self.seconds / 60
        time = f"{minutes:.0f} minutes" if minutes >= 2 else f"{self.seconds:.0f} seconds"
        return f"{text}, {time if minutes < 120 else f'{minutes / 60:.0f} hours'} of training."


def command(outcome: Outcome, advice: Advice, *, anywhere: bool = False) -> str:
    """The command for an advice, to run in the working folder, or with `anywhere` in any folder.

    It uses the same run directory if the settings resume or widen the study, and a new one next to it otherwise.
    """
    settings = advice.settings or ()
    directory, study = outcome.directory, outcome.directory / "study.yaml"
    # A grid can change its axes, and a sampler can add trials; anything else would mix two studies.
    may_change = "search." if outcome.sampler == "grid" else "engine.trials="
    if not all(setting.startswith(may_change) for setting in settings):
        directory = directory.with_name(_longer(directory.name, advice.word))
        settings = (f"name={_as_yaml(_longer(outcome.name, advice.word))}", *settings)
    words = [word for setting in settings for word in ("--set", setting)]
    return epsearch_command("run", study, "--dir", directory, *words, anywhere=anywhere)


def resume(text: str) -> Advice:
    """Advice to run the study again unchanged."""
    return Advice(text, ())


def repeat(outcome: Outcome) -> Advice | None:
    """Advice to repeat the best learning rate with several seeds; None if that was done or no trial is complete."""
    best = outcome.best
    if best is None or len(best.seed_values) >= SEEDS[0]:
        return None
    lr = f"{best.lr:g}"
    return Advice(f"repeat the best lr with {SEEDS[0]} seeds", (f"search.lr={lr}", _seeds(SEEDS[0])), f"lr-{lr}-seeds")


def more_seeds(seeds: int) -> Advice:
    """Advice to repeat a study of `seeds` seeds with more of them, while that helps."""
    wanted = next((number for number in SEEDS if number > seeds), None)
    if wanted is None:
        return Advice(f"With {seeds} seeds each, the differences are as small as the noise.")
    return Advice(
        f"Repeat with {wanted} seeds to see whether this is noise.", (_seeds(wanted),), word=f"{wanted}-seeds"
    )


def bounds(name: str, low: float, high: float) -> tuple[str, str]:
    """The setting for a range widened to powers of ten, and a word that names it."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    low, high = power_of_ten(first), power_of_ten(last)
    return f"search.{name}={{low: {low:g}, high: {high:g}}}", f"{name}-{low:g}-{high:g}"


def priced(advice: Advice, outcome: Outcome, trials: float) -> Advice:
    """The advice with what it costs: as many times a mean trial of the study as `trials`."""
    if advice.settings is None:
        return advice
    seconds = [trial.seconds for trial in outcome.trials if trial.seconds is not None]
    mean = math.fsum(seconds) / len(seconds) if seconds else None
    return replace(advice, trials=math.ceil(trials), seconds=None if mean is None else mean * trials)


def _seeds(number: int) -> str:
    return f"training.seeds={json.dumps(list(range(number)), separators=(',', ':'))}"


def _longer(name: str, word: str) -> str:
    """`name-word`, cut to the 200 bytes that study and directory names may have."""
    room = 200 - len(f"-{word}".encode())
    return f"{name.encode()[:room].decode(errors='ignore')}-{word}"


def _as_yaml(text: str) -> str:
    """`text` as a YAML value for `--set`."""
    return text if re.fullmatch(r"[A-Za-z_][\w.-]*", text, re.ASCII) else json.dumps(text, ensure_ascii=False)
