"""Trials read back from an Optuna storage as plain records."""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from epsearch.core.averages import spread
from epsearch.records.trial import Trial
from epsearch.search.samplers import cell_of
from epsearch.study.config import StudyConfig
from epsearch.study.schema.training import TrainingSection

SEED_EPOCHS = "seed_epochs"


def study_name(config: StudyConfig, optimizer: str) -> str:
    """The name of an optimizer's Optuna study: the study's name, followed by the optimizer's for a baseline."""
    return config.name if optimizer == config.optimizer.name else f"{config.name}: {optimizer}"


def load_arms(storage: optuna.storages.BaseStorage, config: StudyConfig) -> dict[str, optuna.Study]:
    """The existing Optuna studies of a study, by optimizer."""
    begun = set(optuna.get_all_study_names(storage))
    names = {arm: study_name(config, arm) for arm in (config.optimizer.name, *config.search.baselines)}
    return {arm: optuna.load_study(study_name=name, storage=storage) for arm, name in names.items() if name in begun}


def records(study: optuna.Study, optimizer: str, training: TrainingSection) -> list[Trial]:
    """All trials of an Optuna study as plain data, in order of their numbers."""
    sign = 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
    return [_record(trial, optimizer, training, sign) for trial in study.get_trials(deepcopy=False)]


def _seed_epochs(trial: FrozenTrial, training: TrainingSection) -> list[int]:
    """The epochs of each seed; empty if unknown."""
    reports = len(trial.intermediate_values)
    if (noted := trial.user_attrs.get(SEED_EPOCHS)) is not None:
        return list(noted)
    if len(training.seeds) == 1:
        return [reports] if reports else []
    # Still running, or written by an older version: known only if every seed trained all its epochs.
    seeds = len(trial.user_attrs.get("seed_values", []))
    each = training.epochs or reports // max(seeds, 1)
    return [each] * seeds if each * seeds == reports else []


def _record(trial: FrozenTrial, optimizer: str, training: TrainingSection, sign: int) -> Trial:
    parameters = trial.params
    known = cell_of(optimizer, parameters) if "lr" in parameters else None
    history = sorted(trial.intermediate_values.items())
    value = trial.value if trial.state == TrialState.COMPLETE else None
    if value is None:
        value = max((x for _, x in history if math.isfinite(x)), key=lambda x: sign * x, default=None)
    seed_values = trial.user_attrs.get("seed_values", [])
    seed_epochs = _seed_epochs(trial, training)
    states: dict[TrialState, Any] = {TrialState.FAIL: "failed"}
    return Trial(
        number=trial.number,
        optimizer=optimizer,
        state=states.get(trial.state, trial.state.name.lower()),
        lr=known.lr if known else None,
        eps=known.eps if known else None,
        beta2=known.beta2 if known else None,
        value=value,
        spread=spread(seed_values),
        seed_values=seed_values or ([value] if value is not None else []),
        seed_epochs=seed_epochs,
        epochs=sum(seed_epochs) or len(history),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        fail_reason=trial.user_attrs.get("fail_reason"),
        error=trial.user_attrs.get("error"),
        history=history,
    )
