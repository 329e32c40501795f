"""Run Ray Tune with a searcher and a scheduler that ask and tell the study.

Tune's searcher proposes trials; its scheduler receives every result and decides whether a trial continues. Both run in
the driver and share one `TuneDriver`, so the storage has one writer, as with every engine.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ray import tune

from epsearch.core.errors import StudyError
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.ray.driver import StudyAborted, TuneDriver
from epsearch.engines.ray.patches import kill_trial, out_of_memory_as_death
from epsearch.engines.ray.scheduler import StudyScheduler
from epsearch.engines.ray.searcher import StudySearcher
from epsearch.engines.ray.trainable import RayTrial
from epsearch.study.config import StudyConfig

TUNE_SETTINGS = {
    # epsearch handles Ctrl-C.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # No result files and no state to restore from: the study is in its storage.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune's poll of the nodes, for a status line that is not shown, blocks when the cluster is gone.
    "TUNE_STATE_REFRESH_PERIOD": "1000000000",
    # Only the old output can be silenced.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""Settings that Tune reads only from the environment."""


def run_trials(
    config: StudyConfig, study: StudyConfig, driver: TuneDriver, interrupts: Interrupts, folder: str
) -> None:
    """Run Ray Tune until no trial is left."""
    deaths: dict[str, str] = {}
    # Pickled by value, once for the whole study.
    trainable = type("RayTrial", (RayTrial,), {"study": study})
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the listener reports failed trials
    tuner = tune.Tuner(
        tune.with_resources(trainable, config.engine.resources.model_dump()),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(driver, deaths),
            scheduler=StudyScheduler(driver, config, deaths),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=folder,
            verbose=0,
            callbacks=[_BetweenSteps(driver, interrupts)],
            failure_config=tune.FailureConfig(max_failures=config.engine.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    # Start all workers at once; by default Tune starts one after the other.
    with _environment(TUNE_SETTINGS | {"TUNE_MAX_PENDING_TRIALS_PG": str(driver.limit)}), out_of_memory_as_death():
        tuner.fit()
    driver.raise_error()


class _BetweenSteps(tune.Callback):  # type: ignore[misc]
    """Between two steps of Tune: handle signals, raise stored errors, and end trials that exceed the time limit."""

    def __init__(self, driver: TuneDriver, interrupts: Interrupts) -> None:
        self._driver, self._interrupts = driver, interrupts

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        with self._interrupts.point():
            self._driver.raise_error()
        try:
            self._driver.watch.check()
        except StudyError as error:
            raise StudyAborted(error) from error
        if late := self._driver.overdue():
            for trial in trials:
                if trial.trial_id in late:
                    kill_trial(trial)


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Within, these environment variables are set."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
