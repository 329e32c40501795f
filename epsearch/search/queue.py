"""Determine which cells to run: missing ones, and failed ones to retry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

RETRY_OF = "retry_of"


class Queued(NamedTuple):
    """Parameters to run next; for a retry, the number of the failed trial and of the first trial of the cell."""

    parameters: dict[str, float]
    retry_of: int | None = None
    first_try: int | None = None


# The queue is derived from the trials alone, so a kill between any two writes loses nothing.


def missing_cells(trials: Sequence[FrozenTrial], wanted: Sequence[dict[str, float]]) -> Iterator[Queued]:
    """The wanted cells that are neither done nor waiting."""
    standing = Counter(key_of(trial.params) for trial in trials if is_done(trial) or trial.state == TrialState.WAITING)
    failed = {key_of(trial.params): trial for trial in trials if trial.state == TrialState.FAIL and not is_done(trial)}
    for cell in wanted:
        key = key_of(cell)
        if standing[key]:
            standing[key] -= 1
        elif (trial := failed.pop(key, None)) is not None:
            yield _retry(trials, trial)
        else:
            yield Queued(cell)


def retries(trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]) -> Iterator[Queued]:
    """The failed trials of a sampler that are not done, once each."""
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        # A trial killed before all parameters were drawn has no cell.
        drawn = trial.params.keys() == space.keys()
        if trial.state == TrialState.FAIL and not is_done(trial) and drawn and trial.number not in retried:
            yield _retry(trials, trial)


def _retry(trials: Sequence[FrozenTrial], failed: FrozenTrial) -> Queued:
    first = failed.number
    while (before := trials[first].user_attrs.get(RETRY_OF)) is not None:
        first = before
    return Queued(failed.params, failed.number, first)


def is_done(trial: FrozenTrial) -> bool:
    """Whether a trial's cell needs no retry."""
    if trial.state == TrialState.FAIL:
        return trial.user_attrs.get("fail_reason") == "diverged"
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def key_of(parameters: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    """Identify a cell: its parameters to twelve digits."""
    return tuple(sorted((name, f"{value:.12g}") for name, value in parameters.items()))
