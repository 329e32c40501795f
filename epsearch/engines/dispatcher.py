"""Distribute the trials of a run's studies to an engine, and notify the listener."""

from __future__ import annotations

from collections.abc import Sequence

from epsearch.core.errors import StudyError
from epsearch.core.messages import one_line
from epsearch.records.listener import Listener
from epsearch.records.trial import FAILURES, Ending
from epsearch.search.active_trial import ActiveTrial
from epsearch.search.study import SharedStudy

HOPELESS = 3
"""If this many trials of a run fail before any succeeds, the rest would fail too: stop."""

Assignment = tuple[SharedStudy, ActiveTrial]
"""A running trial, and the study it belongs to."""


class Dispatcher:
    """Asks and tells the studies of the searched optimizer and the baselines."""

    def __init__(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        self._studies, self._listener = studies, listener
        self._failures: list[str] = []
        self._any_good = any(study.widenings for study in studies)

    @property
    def left(self) -> int:
        """Trials not yet started."""
        return sum(study.left for study in self._studies)

    @property
    def independent(self) -> bool:
        """Whether the next trial is independent of earlier results."""
        return all(study.independent for study in self._studies)

    def ask(self) -> Assignment | None:
        """Start the next trial; None if every trial is running or done."""
        # In proportion, so that a study that is stopped early has baselines to compare with.
        for study in sorted(self._studies, key=lambda study: 1 - study.left / max(1, study.planned)):
            if (active := study.ask()) is not None:
                self._listener.trial_started(study.optimizer, active.number, active.cell)
                return study, active
        return None

    def report(self, assignment: Assignment, seed_index: int, value: float) -> bool:
        """Record one epoch's metric; False if the trial must stop."""
        study, active = assignment
        keep_going = study.report(active, seed_index, value)
        self._listener.trial_reported(study.optimizer, active.number, active.steps, value)
        return keep_going

    def tell(self, assignment: Assignment, ending: Ending) -> None:
        """Record how a trial ended.

        Raises:
            StudyError: the first trials all failed.
        """
        study, active = assignment
        value = study.tell(active, ending)
        if active.interference is not None:
            ending = Ending(kind="lost", error=active.interference)
        self._listener.trial_ended(study.optimizer, active.number, active.cell, ending, value)
        if ending.kind in FAILURES:
            self._failures.append(one_line(ending.error or ending.kind, 300))
        else:
            self._any_good = True
        if not self._any_good and len(self._failures) >= HOPELESS:
            raise StudyError(
                f"the first {len(self._failures)} trials all failed, the last with: {self._failures[-1]}\n"
                "Details are in logs/ in the run directory. Fix the cause and rerun the same command: it retries these "
                "trials."
            )
