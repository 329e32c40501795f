"""Check that a stored Optuna study is the same study as the study file's."""

from __future__ import annotations

import optuna

from epsearch.core.errors import UserError
from epsearch.core.messages import mask_url
from epsearch.study.config import StudyConfig
from epsearch.study.identity import check_same_study, identity

IDENTITY = "epsearch:study"
"""User attribute of an Optuna study: the settings that determine its results."""


def check_stored_identity(study: optuna.Study, config: StudyConfig) -> None:
    """Compare the stored identity with the study file's, and store it if it is missing.

    Raises:
        UserError: the storage holds another study under this name.
    """
    stored = study.user_attrs.get(IDENTITY)
    mine = identity(config)
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
    check_same_study(
        f'{where}: the study "{study.study_name}"',
        stored,
        mine,
        "Undo the change to resume it, or choose another name.",
    )
    if stored != mine:
        study.set_user_attr(IDENTITY, mine)
