"""Which cells are left to run: missing ones, and failed ones to retry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

RETRY_OF = "retry_of"


class Queued(NamedTuple):
    """Parameters to be tried next; of those tried before, the failed trial and the first one in the row of retries."""

    parameters: dict[str, float]
    retry_of: int | None = None
    first_try: int | None = None


# What is to be tried is worked out from the trials themselves: a kill between any two writes loses nothing.


def missing_cells(trials: Sequence[FrozenTrial], wanted: Sequence[dict[str, float]]) -> Iterator[Queued]:
    """Of the cells wanted, those that are neither settled nor enqueued."""
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
    """What a sampler drew and failed without being settled, once for each such trial."""
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        # A trial killed before all of its parameters were drawn had no cell yet.
        drawn = trial.params.keys() == space.keys()
        if trial.state == TrialState.FAIL and not is_done(trial) and drawn and trial.number not in retried:
            yield _retry(trials, trial)


def _retry(trials: Sequence[FrozenTrial], failed: FrozenTrial) -> Queued:
    first = failed.number
    while (before := trials[first].user_attrs.get(RETRY_OF)) is not None:
        first = before
    return Queued(failed.params, failed.number, first)


def is_done(trial: FrozenTrial) -> bool:
    """Whether a trial's cell needs no further try."""
    if trial.state == TrialState.FAIL:
        return trial.user_attrs.get("fail_reason") == "diverged"
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def key_of(parameters: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    """What two trials of one cell have in common: their parameters to twelve digits."""
    return tuple(sorted((name, f"{value:.12g}") for name, value in parameters.items()))
