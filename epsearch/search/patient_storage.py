"""Optuna's RDB storage, with retries while the database is unreachable."""

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
"""How long an unreachable database is retried before the study stops."""

Result = TypeVar("Result")


class PatientStorage(RDBStorage):
    """Retries operations that a dropped connection interrupted, exactly once even if the commit was not confirmed.

    Relies on a single driver (see `lease`): a RUNNING trial that this process did not create comes from an attempt
    whose confirmation was lost.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any]) -> None:
        self.guard: Callable[[], None] = lambda: None
        """Called before every write; raises if this process must not write."""
        self._mine: set[int] = set()
        self._attempts = 0
        super().__init__(url, engine_kwargs)

    def patiently(self, act: Callable[[], Result]) -> Result:
        """Call `act`; retry for up to a minute while the database is unreachable.

        Raises:
            Exception: raised by `act`, if it is not a dropped connection, or persists.
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
        """Whether the database may be back soon. Not for SQLite, which is a file."""
        from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if self.engine.name == "sqlite" or not isinstance(cause, DBAPIError):
            return False
        return isinstance(cause, OperationalError | InterfaceError) or cause.connection_invalidated

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As in Optuna, but succeeds if an earlier attempt already set the state."""
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
                        return True  # committed by the previous attempt
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
        """A new row; in a retry, the row that the previous attempt created. Optuna itself retries too."""
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
    """A method of RDBStorage, retried while the database is unreachable."""
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
"""Idempotent methods: Optuna accepts a row that already exists as written."""

for _name in (*_READS, *_WRITES):
    setattr(PatientStorage, _name, _patient(_name, writes=_name in _WRITES))
