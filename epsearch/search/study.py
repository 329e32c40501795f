"""The study that every engine asks and tells: one arm's cells in one Optuna study.

Only the driving process writes to the storage. A trial is *settled* when it is COMPLETE, PRUNED, or FAILed because
it diverged; a FAIL for any other reason (the user's code raised, its process died, its driver was lost) leaves its
cell to be tried again by the next run.
"""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

import optuna
from optuna.trial import TrialState

from epsearch.core.averages import mean
from epsearch.core.errors import UserError
from epsearch.core.messages import mask_url
from epsearch.records.listener import Best
from epsearch.records.trial import Cell, Ending
from epsearch.registry.optimizers import BASELINES
from epsearch.registry.samplers import PRUNERS, SAMPLERS, SCHEDULERS
from epsearch.search.interference import INTERFERED, interference, is_deleted
from epsearch.search.queue import RETRY_OF, Queued, is_settled, missing_cells, retries
from epsearch.search.results import SEED_EPOCHS, study_name
from epsearch.search.samplers import cell_of, create_pruner, create_sampler, distributions, draws
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.identity import check_same_study, identity
from epsearch.study.space import Space, cells

IDENTITY = "epsearch:study"
PLANNED = "epsearch:planned"
"""Attribute of an arm's study: how many trials the last run was to end with, those of earlier runs included."""


class Asked:
    """A trial under way: its cell, its checkpoint's file; of each seed so far its epochs and its best finite value."""

    def __init__(self, trial: optuna.Trial, cell: Cell, checkpoint: Path | None) -> None:
        self.trial, self.cell, self.checkpoint = trial, cell, checkpoint
        self.best: dict[int, float] = {}
        self.epochs: dict[int, int] = {}
        self.steps = 0
        """The last step reported."""
        self.known_steps = 0
        """The last step that an earlier try reported, whose process died."""
        self.taken: str | None = None
        """What was done to it from outside, so that its result is dropped."""

    @property
    def number(self) -> int:
        """The trial's number in its Optuna study."""
        return self.trial.number


class SharedStudy:
    """One arm: an optimizer's space in an Optuna study.

    Opening it settles what a killed driver left, and works out what is missing. Histories of ẑ and checkpoints are
    kept in `place`.

    Raises:
        UserError: the storage holds another study under this name.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        config: StudyConfig,
        optimizer: str,
        space: Space,
        place: RunDirectory | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._storage, self._place = storage, place
        self._config, self._sign = config, 1 if config.goal == "maximize" else -1
        # The baselines are few and a line to compare with: a grid whatever the sampler.
        self._grid = config.engine.sampler == "grid" or optimizer in BASELINES
        self._distributions = distributions(space, grid=self._grid)
        pruner = PRUNERS.get(config.engine.pruner)
        self._compares_seeds = pruner is not None and pruner.by_seed
        self.prunes = config.engine.pruner not in ("none", *SCHEDULERS)
        self.independent = self._grid or SAMPLERS[config.engine.sampler].independent
        """Whether the next trial does not depend on the outcome of earlier ones."""
        self.study = optuna.create_study(
            storage=storage,
            study_name=study_name(config, optimizer),
            direction=config.goal,
            # Never asked where all parameters are given; replaced below where outcomes steer the search.
            sampler=optuna.samplers.RandomSampler(),
            pruner=create_pruner(config),
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(self.study.study_name)
        self._check_identity()
        self._settle_lost()
        trials = self.study.get_trials(deepcopy=False)
        self.settled = sum(is_settled(trial) for trial in trials)
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
            self.left = max(self.left, (config.engine.trials or 0) - self.settled)
        self.deleted = False
        """Whether the study was deleted while it ran."""
        self.planned = self.settled + self.left
        if self.study.user_attrs.get(PLANNED) != self.planned:
            self.study.set_user_attr(PLANNED, self.planned)

    def best(self) -> Best | None:
        """The best complete trial; the earliest where several tie."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = max(complete, key=lambda trial: self._sign * (trial.value or 0.0), default=None)
        return None if best is None else Best(best.value or 0.0, cell_of(self.optimizer, best.params))

    def ask(self) -> Asked | None:
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
        checkpoint = self._place.checkpoint(self.optimizer, number) if self._place else None
        if checkpoint is not None and first is None:
            # Of an earlier study in this directory, whose trials had the same numbers.
            checkpoint.unlink(missing_ok=True)
        return Asked(trial, cell_of(self.optimizer, trial.params), checkpoint)

    def report(self, asked: Asked, seed_index: int, value: float) -> bool:
        """Note one epoch's metric; False when the trial stops: the pruner says so, or it was ended from outside."""
        if asked.taken is not None:
            return False
        try:
            return self._report(asked, seed_index, value)
        except INTERFERED:
            if not self._was_taken(asked):
                raise
            return False

    def _report(self, asked: Asked, seed_index: int, value: float) -> bool:
        if not math.isfinite(value):
            return True
        by_seed = self._compares_seeds
        first_of_seed = seed_index not in asked.best
        if first_of_seed:
            # Pruners compare trials at the same step, which must be the same epoch of the same seed, even where an
            # earlier seed diverged before its last epoch.
            asked.steps = max(asked.steps, seed_index * (self._config.training.epochs or 0))
        asked.steps += 1
        asked.epochs[seed_index] = asked.epochs.get(seed_index, 0) + 1
        repeated = asked.steps <= asked.known_steps
        if by_seed and first_of_seed and seed_index and not repeated:
            # The Wilcoxon test compares seed by seed: a step is a seed, its value that seed's best.
            asked.trial.report(asked.best[max(asked.best)], step=max(asked.best))
        best = asked.best.get(seed_index, value)
        asked.best[seed_index] = max(best, value, key=lambda x: self._sign * x)
        if repeated:
            return True
        if not by_seed:
            asked.trial.report(value, step=asked.steps)
        elif not (first_of_seed and seed_index):
            return True
        # Asking a pruner that never prunes would still read the whole trial from the storage.
        return not self.prunes or not asked.trial.should_prune()

    def begin_again(self, asked: Asked) -> None:
        """A trial's process died, and another one begins it anew, or from its checkpoint: it reports again."""
        asked.known_steps = max(asked.known_steps, asked.steps)
        asked.steps = 0
        asked.best.clear()
        asked.epochs.clear()

    def tell(self, asked: Asked, ending: Ending) -> float | None:
        """Settle a trial and return its value: the mean over seeds of the best finite metric over the epochs.

        None, and nothing is written, where the trial was ended from outside: `asked.taken` says how.
        """
        if asked.taken is None:
            try:
                return self._tell(asked, ending)
            except INTERFERED:
                if not self._was_taken(asked):
                    raise
        return None

    def _was_taken(self, asked: Asked) -> bool:
        """Whether the trial was ended from outside, or its study deleted; noted if so."""
        asked.taken = interference(self.study, asked.trial)
        if asked.taken is not None and is_deleted(self.study):
            self._end()
        return asked.taken is not None

    def _end(self) -> None:
        self.deleted, self.left = True, 0
        self._queue.clear()

    def _tell(self, asked: Asked, ending: Ending) -> float | None:
        trial, values = asked.trial, list(asked.best.values())
        if ending.history is not None and self._place is not None:
            # Before the trial is settled: afterwards nobody would come back for it.
            file = self._place.history(asked.number)
            file.parent.mkdir(exist_ok=True)
            ending.history.save(file)
        kind = ending.kind
        if len(self._config.training.seeds) > 1 and values:
            trial.set_user_attr("seed_values", values)
            trial.set_user_attr(SEED_EPOCHS, list(asked.epochs.values()))
        if kind == "finished":
            self.study.tell(trial, mean(values))
        elif kind == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("fail_reason", kind)
            if ending.error:
                trial.set_user_attr("error", ending.error)
            self.study.tell(trial, state=TrialState.FAIL)
        if asked.checkpoint is not None and kind not in ("died", "lost"):
            # Code that raised will be mended before it is tried again: from the start.
            asked.checkpoint.unlink(missing_ok=True)
        return mean(values) if kind == "finished" else None

    def _check_identity(self) -> None:
        stored = self.study.user_attrs.get(IDENTITY)
        mine = identity(self._config)
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
        check_same_study(
            f'{where}: the study "{self.study.study_name}"',
            stored,
            mine,
            "Undo the change to resume it, or choose another name.",
        )
        if stored != mine:
            self.study.set_user_attr(IDENTITY, mine)

    def _settle_lost(self) -> None:
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
