"""What Optuna's dashboard and API do to a study while it runs: end a trial, or delete the study."""

from __future__ import annotations

import optuna
from optuna.exceptions import UpdateFinishedTrialError

INTERFERED = (KeyError, ValueError, UpdateFinishedTrialError)
"""How Optuna reports that a trial has ended, or that it or its study is not there."""


def is_deleted(study: optuna.Study) -> bool:
    """Whether the study is in its storage no more, or another one of its name is."""
    try:
        return study._storage.get_study_id_from_name(study.study_name) != study._study_id
    except KeyError:
        return True


def interference(study: optuna.Study, trial: optuna.Trial) -> str | None:
    """What was done to a trial, as a message reports it; None if nothing was."""
    if is_deleted(study):
        return "its study was deleted from the storage"
    state = study._storage.get_trial(trial._trial_id).state
    if not state.is_finished():
        return None
    rest = "the next run retries its cell" if state == optuna.trial.TrialState.FAIL else "what was set there counts"
    return f"it was marked {state.name} from outside (Optuna's dashboard or API): its result is dropped, {rest}"
