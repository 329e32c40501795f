"""The searcher for Ray Tune: takes trials from the study."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from epsearch.engines.ray.driver import TuneDriver


class DriverOnly:
    """Driver-only state, not pickled: Tune pickles its Tuner for a restore that epsearch does not use."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudySearcher(DriverOnly, Searcher):  # type: ignore[misc]
    """Tune's searcher: asks the study for trials."""

    def __init__(self, driver: TuneDriver, deaths: dict[str, str]) -> None:
        super().__init__()
        self._driver, self._deaths = driver, deaths

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The configuration of the next trial; None if none may start now."""
        return self._driver.next_config(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """End a trial that Tune gave up on; the scheduler handles every other end."""
        if error:
            self._driver.handle_final_death(trial_id, self._deaths.get(trial_id, "its worker process died"))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is in its storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, as `save`."""
