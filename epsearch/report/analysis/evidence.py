"""Whether a study has enough trials for a verdict, and what to run if not."""

from __future__ import annotations

from collections.abc import Sequence

from epsearch.core.numbers import SYMBOLS, count
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.records.trial import Trial, best_trial
from epsearch.report.analysis.advice import Advice, bounds, resume
from epsearch.report.analysis.cells import state_of
from epsearch.report.analysis.coordinates import is_same_damping
from epsearch.report.analysis.next_steps import FEW, given_beta2, given_without_probe

DONE = 0.9
"""Share of the planned trials that must have finished before a verdict."""

ENOUGH = 3
"""Learning rates needed at each end of ε, if the study has that many: with two, the better one is at an edge."""


def too_small(outcome: Outcome, arm: Sequence[Trial], complete: Sequence[Trial]) -> Advice | None:
    """Why there is no verdict yet, and what to run; None if the trials suffice."""
    # A lost trial that was retried is in the study twice.
    ended = [trial for trial in arm if state_of(trial) in ("complete", "pruned", "diverged")]
    # Failed trials count as finished: otherwise a cell that always raises would block the verdict.
    given_up = {_at(trial) for trial in arm if trial.fail_reason in ("raised", "died")} - {_at(each) for each in ended}
    running = sum(trial.state in ("running", "waiting") for trial in arm)
    planned = max(len(ended) + running, outcome.planned - len(given_up))
    if len(ended) < DONE * planned:
        return resume(f"Only {len(ended)} of {count(planned, 'trial')} have finished: resume the study.")
    if not complete:
        return Advice("No trial is complete.")
    if outcome.sampler != "grid" and len(ended) < 2:
        return Advice("One trial is too few for a verdict.", (f"engine.trials={FEW}",))
    for name in ("eps", "lr"):
        if len({trial.cell.get(name) for trial in ended}) < 2:
            return _not_varied(name, outcome, complete)
    enough = min(ENOUGH, len({trial.lr for trial in arm}))
    for end, which in zip(ends_of_eps(ended, outcome.probe), ("smallest", "largest"), strict=True):
        if len({trial.lr for trial in end}) < enough:
            found = f"Only {count(len(end), 'trial')} near the {which} ε; at least {enough} learning rates are needed."
            if outcome.sampler == "grid":
                return resume(f"{found} Run the study again to retry the trials that failed.")
            rates = sorted(trial.lr for trial in arm if trial.lr is not None)
            return Advice(
                f"{found} A grid over both ends of the range provides them.",
                (
                    "search.eps=endpoints",
                    bounds("lr", rates[0], rates[-1])[0],
                    *given_beta2([best_trial(complete, outcome.goal) or complete[0]]),
                    *("engine.sampler=grid", "engine.trials=null", "engine.pruner=none"),
                ),
                "endpoints",
            )
    return None


def _at(trial: Trial) -> tuple[tuple[str, float], ...]:
    return tuple(trial.cell.items())


def _not_varied(name: str, outcome: Outcome, complete: Sequence[Trial]) -> Advice:
    """Advice for a study with only one ε or one α."""
    only = "learning rate" if name == "lr" else "ε"
    text = f"{SYMBOLS[name]} was not varied: only one {only} was tried, so there is no verdict."
    if name == "lr":
        # Several seeds at one learning rate: `repeat` made this study, and the original one varied the rate.
        if len(complete[0].seed_values) > 1:
            return Advice(text)
        return Advice(text, ("search.lr={low: 1e-4, high: 1e-1}",), "lr")
    if outcome.probe is None:
        return Advice(text, (f"search.eps={'grid' if outcome.sampler == 'grid' else 'continuous'}",), "eps")
    eps = complete[0].eps or outcome.probe.range.lower
    setting, word = bounds("eps", eps / 10, eps * 10)
    return Advice(text, (setting, *given_without_probe(outcome, complete)), word)


def ends_of_eps(arm: Sequence[Trial], probe: ProbeResult | None) -> tuple[list[Trial], list[Trial]]:
    """The trials near the smallest ε tried, and those near the largest: within a decade, or equal by theory."""
    tried = [(trial, trial.eps) for trial in arm if trial.eps is not None]
    smallest, largest = min(eps for _, eps in tried), max(eps for _, eps in tried)
    decade = 9.99  # excludes the next point of a grid

    def end(of: float) -> list[Trial]:
        damping = None if probe is None else probe.damping(of)
        return [
            trial
            for trial, eps in tried
            if of / decade < eps < of * decade or (probe is not None and is_same_damping(probe.damping(eps), damping))
        ]

    return end(smallest), end(largest)
