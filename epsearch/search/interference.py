"""Detect changes from outside, by Optuna's dashboard or API: a trial was ended, or the study deleted."""

from __future__ import annotations

import optuna
from optuna.exceptions import UpdateFinishedTrialError

INTERFERED = (KeyError, ValueError, UpdateFinishedTrialError)
"""Errors that Optuna raises if a trial has ended, or if it or its study is missing."""


def is_deleted(study: optuna.Study) -> bool:
    """Whether the study is missing from its storage, or replaced by another of the same name."""
    try:
        return study._storage.get_study_id_from_name(study.study_name) != study._study_id
    except KeyError:
        return True


def interference(study: optuna.Study, trial: optuna.Trial) -> str | None:
    """A message about how a trial was changed from outside; None if it was not."""
    if is_deleted(study):
        return "its study was deleted from the storage"
    state = study._storage.get_trial(trial._trial_id).state
    if not state.is_finished():
        return None
    rest = "the next run retries its cell" if state == optuna.trial.TrialState.FAIL else "what was set there counts"
    return f"it was marked {state.name} from outside (Optuna's dashboard or API): its result is dropped, {rest}"
