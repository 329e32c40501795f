"""The study that every engine asks and tells: one arm's cells in one Optuna study.

Only the driving process writes to the storage. A trial is *settled* when it is COMPLETE, PRUNED, or FAILed because
it diverged; a FAIL for any other reason (the user's code raised, its process died, its driver was lost) leaves its
cell to be tried again by the next run.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from epsearch.core.averages import mean
from epsearch.core.errors import UserError
from epsearch.core.messages import mask_url
from epsearch.records.listener import Best
from epsearch.records.trial import Cell, Ending
from epsearch.registry.optimizers import BASELINES
from epsearch.registry.samplers import SAMPLERS, SCHEDULERS
from epsearch.search.interference import INTERFERED, interference, is_deleted
from epsearch.search.queue import RETRY_OF, Queued, is_done, missing_cells, retries
from epsearch.search.results import SEED_EPOCHS, study_name
from epsearch.search.samplers import cell_of, create_pruner, create_sampler, distributions, draws
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.identity import identity
from epsearch.study.space import Space, cells

IDENTITY = "epsearch:study"
PLANNED = "epsearch:planned"
"""Attribute of an arm's study: how many trials the last run was to end with, those of earlier runs included."""


class ActiveTrial:
    """A trial under way: its cell, its checkpoint's file; of each seed so far its epochs and its best finite value."""

    def __init__(self, trial: optuna.Trial, cell: Cell, checkpoint: Path | None) -> None:
        self.trial, self.cell, self.checkpoint = trial, cell, checkpoint
        self.best: dict[int, float] = {}
        self.epochs: dict[int, int] = {}
        self.steps = 0
        """The last step reported."""
        self.known_steps = 0
        """The last step that an earlier try reported, whose process died."""
        self.interference: str | None = None
        """What was done to it from outside, so that its result is dropped."""

    @property
    def number(self) -> int:
        """The trial's number in its Optuna study."""
        return self.trial.number


class SharedStudy:
    """One arm: an optimizer's space in an Optuna study.

    Opening it settles what a killed driver left, and works out what is missing. Histories of ẑ and checkpoints are
    kept in `run_dir`.

    Raises:
        UserError: the storage holds another study under this name.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        config: StudyConfig,
        optimizer: str,
        space: Space,
        run_dir: RunDirectory | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._storage, self._run_dir = storage, run_dir
        self._config, self._sign = config, 1 if config.goal == "maximize" else -1
        # The baselines are few and a line to compare with: a grid whatever the sampler.
        self._grid = config.engine.sampler == "grid" or optimizer in BASELINES
        self._distributions = distributions(space, grid=self._grid)
        self.prunes = config.engine.pruner not in ("none", *SCHEDULERS)
        self.independent = self._grid or SAMPLERS[config.engine.sampler].independent
        """Whether the next trial does not depend on the outcome of earlier ones."""
        self.study = optuna.create_study(
            storage=storage,
            study_name=study_name(config, optimizer),
            direction=config.goal,
            # Unused where all parameters are given; replaced below where outcomes steer the search.
            sampler=optuna.samplers.RandomSampler(),
            pruner=create_pruner(config),
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(self.study.study_name)
        self._check_identity()
        self._fail_lost()
        trials = self.study.get_trials(deepcopy=False)
        self.done = sum(is_done(trial) for trial in trials)
        """Trials that earlier runs settled."""
        if self.independent:
            self._queue = deque(
                missing_cells(trials, cells(space) if self._grid else draws(config, self._distributions))
            )
        else:
            self._queue = deque(retries(trials, self._distributions))
            # A sampler with the same seed would repeat its start-up points when the study goes on.
            self.study.sampler = create_sampler(config, config.engine.seed + len(trials))
        self.left = len(self._queue) + sum(trial.state == TrialState.WAITING for trial in trials)
        """Trials still to be asked for."""
        if not self.independent:
            self.left = max(self.left, (config.engine.trials or 0) - self.done)
        self.deleted = False
        """Whether the study was deleted while it ran."""
        self.planned = self.done + self.left
        if self.study.user_attrs.get(PLANNED) != self.planned:
            self.study.set_user_attr(PLANNED, self.planned)

    def best(self) -> Best | None:
        """The best complete trial; the earliest where several tie."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = max(complete, key=lambda trial: self._sign * (trial.value or 0.0), default=None)
        return None if best is None else Best(best.value or 0.0, cell_of(self.optimizer, best.params))

    def ask(self) -> ActiveTrial | None:
        """The next trial, or None when all are under way or settled."""
        if self.left <= 0:
            return None
        self.left -= 1
        first = None
        try:
            if self._queue:
                queued = self._queue.popleft()
                trial, first = self._begin(queued), queued.first_try
            else:
                trial = self.study.ask(fixed_distributions=self._distributions)
        except KeyError:
            if not is_deleted(self.study):
                raise
            self._end()
            return None
        number = trial.number if first is None else first
        checkpoint = self._run_dir.checkpoint(self.optimizer, number) if self._run_dir else None
        if checkpoint is not None and first is None:
            # Of an earlier study in this directory, whose trials had the same numbers.
            checkpoint.unlink(missing_ok=True)
        return ActiveTrial(trial, cell_of(self.optimizer, trial.params), checkpoint)

    def report(self, active: ActiveTrial, seed_index: int, value: float) -> bool:
        """Note one epoch's metric; False when the trial stops: the pruner says so, or it was ended from outside."""
        if active.interference is not None:
            return False
        try:
            return self._report(active, seed_index, value)
        except INTERFERED:
            if not self._interfered(active):
                raise
            return False

    def _report(self, active: ActiveTrial, seed_index: int, value: float) -> bool:
        if not math.isfinite(value):
            return True
        by_seed = self._config.engine.pruner == "wilcoxon"
        first_of_seed = seed_index not in active.best
        if first_of_seed:
            # Pruners compare trials at the same step, which must be the same epoch of the same seed, even where an
            # earlier seed diverged before its last epoch.
            active.steps = max(active.steps, seed_index * (self._config.training.epochs or 0))
        active.steps += 1
        active.epochs[seed_index] = active.epochs.get(seed_index, 0) + 1
        repeated = active.steps <= active.known_steps
        if by_seed and first_of_seed and seed_index and not repeated:
            # The Wilcoxon test compares seed by seed: a step is a seed, its value that seed's best.
            active.trial.report(active.best[max(active.best)], step=max(active.best))
        best = active.best.get(seed_index, value)
        active.best[seed_index] = max(best, value, key=lambda x: self._sign * x)
        if repeated:
            return True
        if not by_seed:
            active.trial.report(value, step=active.steps)
        elif not (first_of_seed and seed_index):
            return True
        # Asking a pruner that never prunes would still read the whole trial from the storage.
        return not self.prunes or not active.trial.should_prune()

    def restart(self, active: ActiveTrial) -> None:
        """A trial's process died, and another one begins it anew, or from its checkpoint: it reports again."""
        active.known_steps = max(active.known_steps, active.steps)
        active.steps = 0
        active.best.clear()
        active.epochs.clear()

    def tell(self, active: ActiveTrial, ending: Ending) -> float | None:
        """Settle a trial and return its value: the mean over seeds of the best finite metric over the epochs.

        None, and nothing is written, where the trial was ended from outside: `active.interference` says how.
        """
        if active.interference is None:
            try:
                return self._tell(active, ending)
            except INTERFERED:
                if not self._interfered(active):
                    raise
        return None

    def _interfered(self, active: ActiveTrial) -> bool:
        """Whether the trial was ended from outside, or its study deleted; noted if so."""
        active.interference = interference(self.study, active.trial)
        if active.interference is not None and is_deleted(self.study):
            self._end()
        return active.interference is not None

    def _end(self) -> None:
        self.deleted, self.left = True, 0
        self._queue.clear()

    def _tell(self, active: ActiveTrial, ending: Ending) -> float | None:
        trial, values = active.trial, list(active.best.values())
        if ending.history is not None and self._run_dir is not None:
            # Before the trial is settled: afterwards nobody would come back for it.
            file = self._run_dir.history(active.number)
            file.parent.mkdir(exist_ok=True)
            ending.history.save(file)
        kind = ending.kind
        if len(self._config.training.seeds) > 1 and values:
            trial.set_user_attr("seed_values", values)
            trial.set_user_attr(SEED_EPOCHS, list(active.epochs.values()))
        if kind == "finished":
            self.study.tell(trial, mean(values))
        elif kind == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("fail_reason", kind)
            if ending.error:
                trial.set_user_attr("error", ending.error)
            self.study.tell(trial, state=TrialState.FAIL)
        if active.checkpoint is not None and kind not in ("died", "lost"):
            # Code that raised will be mended before it is tried again: from the start.
            active.checkpoint.unlink(missing_ok=True)
        return mean(values) if kind == "finished" else None

    def _check_identity(self) -> None:
        stored = self.study.user_attrs.get(IDENTITY)
        mine = json.loads(json.dumps(identity(self._config)))
        storage = self._config.engine.storage
        where = mask_url(storage) if storage else "the run directory's study.db"
        if stored is None:
            if self.study.get_trials(deepcopy=False):
                raise UserError(
                    f'name: {where} already holds a study "{self.study.study_name}" that epsearch did not make; '
                    "choose another name."
                )
            self.study.set_user_attr(IDENTITY, mine)
            return
        changed = differences(stored, mine)
        if changed:
            raise UserError(
                f'{where} holds a study "{self.study.study_name}" that was run differently: {changed}. '
                "Choose another name."
            )
        if stored != mine:
            self.study.set_user_attr(IDENTITY, mine)

    def _fail_lost(self) -> None:
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self.study, frozen._trial_id)
            trial.set_user_attr("fail_reason", "lost")
            self.study.tell(trial, state=TrialState.FAIL)

    def _begin(self, queued: Queued) -> optuna.Trial:
        """A RUNNING trial with its parameters set, in one write.

        Optuna's `enqueue_trial` and `ask` would take five, and look through all that wait; what they are for, that
        several processes share a queue, is not needed where one process asks.
        """
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=queued.parameters,
            distributions=self._distributions,
            user_attrs={} if queued.retry_of is None else {RETRY_OF: queued.retry_of},
        )
        return optuna.Trial(self.study, self._storage.create_new_trial(self._study_id, template))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs, as `training.epochs was 20, is 30; …`; only keys that both know are compared."""
    changed = [key for key in old if key in new and old[key] != new[key]]
    return "; ".join(f"{key} was {json.dumps(old[key])}, is {json.dumps(new[key])}" for key in changed)
