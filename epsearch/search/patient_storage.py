"""Optuna's RDB storage, with patience for a database that is away for a while."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PATIENCE_SECONDS = 60.0
"""A database that cannot be reached is tried again for so long before the study gives up."""

Result = TypeVar("Result")


class PatientStorage(RDBStorage):
    """Repeats what a dropped connection interrupted, so that it is done once: also what was committed unheard.

    Relies on there being one driver (see `lease`): a RUNNING trial that this process did not make stems from an
    attempt whose answer was lost.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any]) -> None:
        self.guard: Callable[[], None] = lambda: None
        """Called before every write; raises where this process must not write any more."""
        self._mine: set[int] = set()
        self._attempts = 0
        super().__init__(url, engine_kwargs)

    def patiently(self, act: Callable[[], Result]) -> Result:
        """Call `act`, again for up to a minute while the database cannot be reached.

        Raises:
            Exception: of `act`, where it is no dropped connection, or lasts.
        """
        pause, deadline = 0.25, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return act()
            except Exception as error:
                if not self._is_dropped(error) or time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 4.0)

    def _is_dropped(self, error: Exception) -> bool:
        """Whether the database may be back in a moment. SQLite's file is there or not."""
        from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if self.engine.name == "sqlite" or not isinstance(cause, DBAPIError):
            return False
        return isinstance(cause, OperationalError | InterfaceError) or cause.connection_invalidated

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's; a state that an attempt set whose answer was lost is set."""
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            self.guard()
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                if attempts > 1:
                    trial = RDBStorage.get_trial(self, trial_id)
                    if trial.state == state and (values is None or list(trial.values or ()) == list(values)):
                        return True  # committed by the attempt before
                raise

        done = self.patiently(attempt)
        if state == TrialState.RUNNING:
            self._mine.add(trial_id)
        return done

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        def attempt() -> FrozenTrial:
            self.guard()
            return RDBStorage._create_new_trial(self, study_id, template_trial)

        self._attempts = 0
        trial = self.patiently(attempt)
        self._mine.add(trial._trial_id)
        return trial

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Session) -> Any:
        """A new row; of a repeated attempt, the one that the attempt before has left. Optuna itself repeats, too."""
        from optuna.storages._rdb.models import TrialModel

        self._attempts += 1
        if self._attempts > 1:
            running = session.query(TrialModel).filter(
                TrialModel.study_id == study_id, TrialModel.state == TrialState.RUNNING
            )
            for trial in running:
                if trial.trial_id not in self._mine:
                    return trial
        return RDBStorage._get_prepared_new_trial(self, study_id, template_trial, session)


def _patient(name: str, *, writes: bool) -> Callable[..., Any]:
    """The method of RDBStorage, repeated while the database cannot be reached."""
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def patient(self: PatientStorage, *arguments: Any, **keywords: Any) -> Any:
        def attempt() -> Any:
            if writes:
                self.guard()
            return method(self, *arguments, **keywords)

        return self.patiently(attempt)

    return patient


_READS = (
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "_get_trials",
    "_get_best_trial_id",
)
_WRITES = (
    "create_new_study",
    "delete_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "_set_trial_param",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
)
"""What is the same when it is done twice: Optuna takes a row that is there already as written."""

for _name in (*_READS, *_WRITES):
    setattr(PatientStorage, _name, _patient(_name, writes=_name in _WRITES))
