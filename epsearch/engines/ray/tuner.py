"""Ray Tune, driven by a searcher and a scheduler that ask and tell the study.

Tune wants a searcher, which says what to try, and a scheduler, which hears every result and says whether to go on.
Both live in the driver and speak to one `TuneDriver`, so the storage has one writer, as with every engine.
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
    # Ctrl-C is ours to handle.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's result files, and the state it would restore from, are nobody's: the study is in its storage.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Its own look at the nodes, for a status that nobody prints, blocks until Ray ends the process where they are gone.
    "TUNE_STATE_REFRESH_PERIOD": "1000000000",
    # The new output cannot be told to be quiet; the old one can.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""What Tune takes from the environment alone."""


def run_trials(
    config: StudyConfig, study: StudyConfig, driver: TuneDriver, interrupts: Interrupts, folder: str
) -> None:
    """Let Ray Tune run until the dialogue has nothing more to try."""
    deaths: dict[str, str] = {}
    # Pickled by value, once for the whole study.
    trainable = type("RayTrial", (RayTrial,), {"study": study})
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a trial that failed is its listener's to tell
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
    # As many workers at once as the searcher asks for: by default they start one after the other.
    with _environment(TUNE_SETTINGS | {"TUNE_MAX_PENDING_TRIALS_PG": str(driver.limit)}), out_of_memory_as_death():
        tuner.fit()
    driver.raise_error()


class _BetweenSteps(tune.Callback):  # type: ignore[misc]
    """Between two steps of Tune: signals take effect, what has gone wrong does, and trials that take too long end."""

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
    """Within, the environment has these settings."""
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
