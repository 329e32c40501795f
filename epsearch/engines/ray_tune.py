"""Ray Tune, driven by a searcher and a scheduler that ask and tell the study.

Tune wants a searcher, which says what to try, and a scheduler, which hears every result and says whether to go on.
Both live in the driver and speak to one `Dialogue`, so the storage has one writer, as with every engine.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.execution._internal import actor_manager
from ray.tune.execution import tune_controller
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from epsearch.config import StudyConfig
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.ray_dialogue import Abandoned, Dialogue
from epsearch.engines.ray_trial import RayTrial
from epsearch.engines.table import SCHEDULERS
from epsearch.errors import StudyError
from epsearch.loading import load_object
from epsearch.wording import one_line

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
    config: StudyConfig, study: StudyConfig, dialogue: Dialogue, interrupts: Interrupts, folder: str
) -> None:
    """Let Ray Tune run until the dialogue has nothing more to try."""
    deaths: dict[str, str] = {}
    # Pickled by value, once for the whole study.
    trainable = type("RayTrial", (RayTrial,), {"study": study})
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a trial that failed is its listener's to tell
    tuner = tune.Tuner(
        tune.with_resources(trainable, config.engine.resources.model_dump()),
        tune_config=tune.TuneConfig(
            search_alg=_Asking(dialogue, deaths),
            scheduler=_Hearing(dialogue, config, deaths),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=folder,
            verbose=0,
            callbacks=[_Pausing(dialogue, interrupts)],
            failure_config=tune.FailureConfig(max_failures=config.engine.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    # As many workers at once as the searcher asks for: by default they start one after the other.
    with _environment(TUNE_SETTINGS | {"TUNE_MAX_PENDING_TRIALS_PG": str(dialogue.limit)}), _deaths_of_memory():
        tuner.fit()
    dialogue.raise_trouble()


class _Mine:
    """An object of the driver's: Tune pickles its Tuner, for a restore that nobody will ask for."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Asking(_Mine, Searcher):  # type: ignore[misc]
    """Tune's searcher: the study is asked what to try."""

    def __init__(self, dialogue: Dialogue, deaths: dict[str, str]) -> None:
        super().__init__()
        self._dialogue, self._deaths = dialogue, deaths

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return self._dialogue.ask(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Of any other end the scheduler has heard."""
        if error:
            self._dialogue.bury(trial_id, self._deaths.get(trial_id, "its worker process died"))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is in its storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as with `save`."""


class _Hearing(_Mine, FIFOScheduler):  # type: ignore[misc]
    """Tune's scheduler: the study is told, and its pruner stops trials, or one of Ray's schedulers for each arm."""

    def __init__(self, dialogue: Dialogue, config: StudyConfig, deaths: dict[str, str]) -> None:
        super().__init__()
        self._dialogue, self._config, self._deaths = dialogue, config, deaths
        self._schedulers: dict[str, TrialScheduler] = {}
        self._last: dict[str, dict[str, float]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial is to start, or, since its process died, to start again."""
        trial.set_config({**trial.config, "checkpoint": self._dialogue.checkpoint(trial.trial_id)})
        if (death := self._deaths.get(trial.trial_id)) is not None:
            self._dialogue.restarts(trial.trial_id, trial.num_failures, death)
        elif (scheduler := self._scheduler(trial)) is not None:
            scheduler.on_trial_add(tune_controller, trial)
        self._last.setdefault(trial.trial_id, {})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        scheduler = self._scheduler(trial)

        def judge(step: int, value: float) -> bool:
            if scheduler is None:
                return True
            self._last[trial.trial_id] = said = {"training_iteration": step, "value": value}
            return bool(scheduler.on_trial_result(tune_controller, trial, said) != TrialScheduler.STOP)

        if self._dialogue.hear(trial.trial_id, result, judge):
            return str(TrialScheduler.CONTINUE)
        # Tune remembers every trial; the bytes of a checkpoint shall not stay with it.
        trial.set_config({**trial.config, "checkpoint": None})
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if (scheduler := self._scheduler(trial)) is not None and (last := self._last[trial.trial_id]):
            scheduler.on_trial_complete(tune_controller, trial, last)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Its process died; whether it starts again, Tune knows."""
        self._deaths[trial.trial_id] = self._dialogue.death(trial.trial_id) or _death(trial)

    def _scheduler(self, trial: Any) -> TrialScheduler | None:
        """Ray's scheduler of the trial's arm: baselines are not stopped for what the searched optimizer reaches."""
        row = SCHEDULERS.get(self._config.engine.pruner)
        arm = trial.config["cell"]["optimizer"]
        if row is not None and arm not in self._schedulers:
            arguments = dict(row.arguments)
            if "stop_last_trials" in arguments and self._config.trial_epochs is not None:
                arguments["max_t"] = self._config.trial_epochs
            self._schedulers[arm] = load_object(row.path)(
                time_attr="training_iteration", metric="value", mode=self._config.goal[:3], **arguments
            )
        return self._schedulers.get(arm)


class _Pausing(tune.Callback):  # type: ignore[misc]
    """Between two steps of Tune: signals take effect, what has gone wrong does, and trials that take too long end."""

    def __init__(self, dialogue: Dialogue, interrupts: Interrupts) -> None:
        self._dialogue, self._interrupts = dialogue, interrupts

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        with self._interrupts.point():
            self._dialogue.raise_trouble()
        try:
            self._dialogue.watch.check()
        except StudyError as error:
            raise Abandoned(error) from error
        if late := self._dialogue.overdue():
            for trial in trials:
                if trial.trial_id in late:
                    # A thread that hangs cannot be ended, its process can. It is not a death that Tune may restart.
                    trial.max_failures = 0
                    ray.kill(trial.temporary_state.ray_actor)


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


@contextlib.contextmanager
def _deaths_of_memory() -> Iterator[None]:
    """Within, Tune takes a worker that Ray kills to save its node's memory for one that died.

    By itself (Ray 2.60) it knows two kinds of error, of which OutOfMemoryError is neither, and ends the whole study.
    """
    dead = ray.exceptions.RayActorError
    modules = (actor_manager, tune_controller)
    for module in modules:
        module.RayActorError = (dead, ray.exceptions.OutOfMemoryError)
    try:
        yield
    finally:
        for module in modules:
            module.RayActorError = dead


def _death(trial: Any) -> str:
    """Why a trial's process died, in one line, from the file that Tune keeps of it."""
    try:
        told = Path(trial.error_file).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    except (OSError, TypeError):
        told = ""
    # Before that are the names that Ray has for the process.
    _, because, reason = told.partition("The actor is dead because ")
    return f"its worker process died: {one_line(reason if because else told)}"
