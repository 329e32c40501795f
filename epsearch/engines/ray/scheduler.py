"""The scheduler for Ray Tune: passes results to the study, which decides whether a trial continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from epsearch.core.imports import load_object
from epsearch.core.messages import one_line
from epsearch.engines.ray.driver import TuneDriver
from epsearch.engines.ray.searcher import DriverOnly
from epsearch.registry.samplers import SCHEDULERS
from epsearch.study.config import StudyConfig


class StudyScheduler(DriverOnly, FIFOScheduler):  # type: ignore[misc]
    """Tune's scheduler. Trials are stopped by the study's pruner, or by one of Ray's schedulers for each optimizer."""

    def __init__(self, driver: TuneDriver, config: StudyConfig, deaths: dict[str, str]) -> None:
        super().__init__()
        self._driver, self._config, self._deaths = driver, config, deaths
        self._schedulers: dict[str, TrialScheduler] = {}
        self._last: dict[str, dict[str, float]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial starts, or restarts after its process died."""
        trial.set_config({**trial.config, "checkpoint": self._driver.checkpoint(trial.trial_id)})
        if (death := self._deaths.get(trial.trial_id)) is not None:
            self._driver.restarts(trial.trial_id, trial.num_failures, death)
        elif (scheduler := self._scheduler(trial)) is not None:
            scheduler.on_trial_add(tune_controller, trial)
        self._last.setdefault(trial.trial_id, {})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report to the study; stop the trial if its pruner or scheduler says so."""
        scheduler = self._scheduler(trial)

        def judge(step: int, value: float) -> bool:
            if scheduler is None:
                return True
            self._last[trial.trial_id] = latest = {"training_iteration": step, "value": value}
            return bool(scheduler.on_trial_result(tune_controller, trial, latest) != TrialScheduler.STOP)

        if self._driver.handle_result(trial.trial_id, result, judge):
            return str(TrialScheduler.CONTINUE)
        # Tune keeps every trial's config: drop the checkpoint's bytes.
        trial.set_config({**trial.config, "checkpoint": None})
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial has ended without an error."""
        if (scheduler := self._scheduler(trial)) is not None and (last := self._last[trial.trial_id]):
            scheduler.on_trial_complete(tune_controller, trial, last)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial's process died; Tune decides whether it restarts."""
        self._deaths[trial.trial_id] = self._driver.handle_death(trial.trial_id) or _death(trial)

    def _scheduler(self, trial: Any) -> TrialScheduler | None:
        """Ray's scheduler for the trial's optimizer: baselines are not compared with the searched optimizer."""
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


def _death(trial: Any) -> str:
    """Why a trial's process died, in one line, from Tune's error file."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    except (OSError, TypeError):
        text = ""
    # Before this come Ray's ids of the process.
    _, because, reason = text.partition("The actor is dead because ")
    return f"its worker process died: {one_line(reason if because else text)}"
