"""Check that a stored Optuna study is the same study as the study file's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import optuna

from epsearch.core.errors import UserError
from epsearch.core.messages import mask_url
from epsearch.study.config import StudyConfig
from epsearch.study.identity import identity

IDENTITY = "epsearch:study"
"""User attribute of an Optuna study: the settings that determine its results."""


def check_same_study(study: optuna.Study, config: StudyConfig) -> None:
    """Compare the stored identity with the study file's, and store it if it is missing.

    Raises:
        UserError: the storage holds another study under this name.
    """
    stored = study.user_attrs.get(IDENTITY)
    mine = json.loads(json.dumps(identity(config)))
    storage = config.engine.storage
    where = mask_url(storage) if storage else "the run directory's study.db"
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise UserError(
                f'name: {where} already holds a study "{study.study_name}" that epsearch did not make; '
                "choose another name."
            )
        study.set_user_attr(IDENTITY, mine)
        return
    changed = differences(stored, mine)
    if changed:
        raise UserError(
            f'{where} holds a study "{study.study_name}" that was run differently: {changed}. Choose another name.'
        )
    if stored != mine:
        study.set_user_attr(IDENTITY, mine)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs, as `training.epochs was 20, is 30; …`; only keys in both are compared."""
    changed = [key for key in old if key in new and old[key] != new[key]]
    return "; ".join(f"{key} was {json.dumps(old[key])}, is {json.dumps(new[key])}" for key in changed)
