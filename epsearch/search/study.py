"""The study that every engine asks and tells: the cells of one optimizer in one Optuna study.

Only the driver writes to the storage. A trial is *done* when it is COMPLETE, PRUNED, or FAILed because it diverged.
After a FAIL for any other reason (the user's code raised, a process died, the driver was killed) the next run retries
the cell.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from epsearch.core.averages import mean
from epsearch.records.listener import Best
from epsearch.records.trial import Ending
from epsearch.records.widening import Widening
from epsearch.registry.optimizers import BASELINES
from epsearch.registry.samplers import PRUNERS, SAMPLERS, SCHEDULERS
from epsearch.search.active_trial import ActiveTrial
from epsearch.search.guide import Guide
from epsearch.search.interference import INTERFERED, interference, is_deleted
from epsearch.search.queue import RETRY_OF, Queued, is_done, key_of, missing_cells, retries
from epsearch.search.results import SEED_EPOCHS, study_name
from epsearch.search.same_study import check_stored_identity
from epsearch.search.samplers import cell_of, create_pruner, create_sampler, distributions, draws, span
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.space import Space, cells
from epsearch.study.widening import beyond

PLANNED = "epsearch:planned"
"""User attribute of an Optuna study: the number of trials planned by the last run, including those of earlier runs."""

WIDENED = "epsearch:widened"
"""User attribute of an Optuna study: how a grid went beyond the edges of its learning rates, a list of `Widening`."""


class SharedStudy:
    """The space of one optimizer in an Optuna study.

    Opening it marks the trials that a killed driver left running as lost, and determines which cells are missing.
    Histories of ẑ and checkpoints are kept in `run_dir`. The sampler `guided` needs `guide`.

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
        guide: Guide | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._storage, self._run_dir = storage, run_dir
        self._config, self._sign = config, 1 if config.goal == "maximize" else -1
        # Baselines are few, and a line to compare with: always a grid.
        self._grid = config.engine.sampler == "grid" or optimizer in BASELINES
        self._distributions = distributions(space, grid=self._grid)
        pruner = PRUNERS.get(config.engine.pruner)
        self._compares_seeds = pruner is not None and pruner.by_seed
        self.prunes = config.engine.pruner not in ("none", *SCHEDULERS)
        self.independent = self._grid or SAMPLERS[config.engine.sampler].independent
        """Whether the next trial is independent of earlier results."""
        self.study = optuna.create_study(
            storage=storage,
            study_name=study_name(config, optimizer),
            direction=config.goal,
            # Unused where all parameters are given; replaced below for samplers that learn from results.
            sampler=optuna.samplers.RandomSampler(),
            pruner=create_pruner(config),
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(self.study.study_name)
        check_stored_identity(self.study, config)
        self._fail_lost()
        trials = self.study.get_trials(deepcopy=False)
        self.done = sum(is_done(trial) for trial in trials)
        """Trials that earlier runs have done, or this one before it widened the grid."""
        self._cells = cells(space) if self._grid else []
        self._widens = self._grid and config.search.lr == "auto" and optimizer not in BASELINES
        self.widenings: list[Widening] = []
        """How the grid went beyond the edges of its learning rates, in this run and earlier ones."""
        if self.independent:
            self._queue = deque(missing_cells(trials, self._cells or draws(config, self._distributions)))
        else:
            self._queue = deque(retries(trials, self._distributions))
            # With the same seed, a resumed sampler would repeat its start-up points; the guided one keeps no state.
            seed = config.engine.seed + (0 if config.engine.sampler == "guided" else len(trials))
            self.study.sampler = create_sampler(config, seed, guide, self._distributions)
        self.left = len(self._queue) + sum(trial.state == TrialState.WAITING for trial in trials)
        """Trials not yet started."""
        if not self.independent:
            self.left = max(self.left, (config.engine.trials or 0) - self.done)
        self.deleted = False
        """Whether the study was deleted from its storage during the run."""
        self.planned = self.done + self.left
        while self._widen(trials):  # as far as earlier runs did
            pass
        self._note_plan()

    def best(self) -> Best | None:
        """The best complete trial; of ties, the earliest."""
        best = self._best(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        return None if best is None else Best(best.value or 0.0, cell_of(self.optimizer, best.params))

    def _best(self, complete: Iterable[FrozenTrial]) -> FrozenTrial | None:
        return max(complete, key=lambda trial: self._sign * (trial.value or 0.0), default=None)

    def widen(self) -> Widening | None:
        """Where lr is auto and the best lr of a finished grid is at an edge, add the cells beyond it; otherwise None.

        Which cells depends only on the grid's trials, so a resumed study adds the same.
        """
        try:
            trials = self.study.get_trials(deepcopy=False)
            self.done = sum(is_done(trial) for trial in trials)
            if not self._widen(trials):
                return None
            self._note_plan()
        except KeyError:
            if not is_deleted(self.study):
                raise
            self._end()
            return None
        return self.widenings[-1]

    def _widen(self, trials: Sequence[FrozenTrial]) -> bool:
        if not self._widens or self.left or self.deleted:
            return False
        cells = {key_of(cell): cell for cell in self._cells}
        best = self._best(
            trial for trial in trials if trial.state == TrialState.COMPLETE and key_of(trial.params) in cells
        )
        if best is None or not (added := beyond(self._cells, cell := cells[key_of(best.params)])):
            return False
        self._cells += added
        self._distributions["lr"] = span(each["lr"] for each in self._cells)
        self._queue.extend(missing_cells(trials, added))
        self.left = len(self._queue)
        self.planned = self.done + self.left
        reach = next(each["lr"] for each in reversed(added) if each["eps"] == cell["eps"])
        self.widenings.append(Widening(lr=cell["lr"], eps=cell["eps"], reach=reach, trials=len(added)))
        return True

    def _note_plan(self) -> None:
        """Keep the number of planned trials, and the widenings, for the report."""
        plan: dict[str, object] = {PLANNED: self.planned}
        if self.widenings:
            plan[WIDENED] = [widening.model_dump() for widening in self.widenings]
        for name, value in plan.items():
            if self.study.user_attrs.get(name) != value:
                self.study.set_user_attr(name, value)

    def ask(self) -> ActiveTrial | None:
        """Start the next trial; None if every trial is running or done."""
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
            # Left by an earlier study in this directory, whose trials had the same numbers.
            checkpoint.unlink(missing_ok=True)
        return ActiveTrial(trial, cell_of(self.optimizer, trial.params), checkpoint)

    def report(self, active: ActiveTrial, seed_index: int, value: float) -> bool:
        """Record one epoch's metric; False if the trial must stop: it is pruned, or was ended from outside."""
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
        by_seed = self._compares_seeds
        first_of_seed = seed_index not in active.best
        if first_of_seed:
            # Pruners compare trials step by step: a step must be the same epoch of the same seed, even if an earlier
            # seed diverged before its last epoch.
            active.steps = max(active.steps, seed_index * (self._config.training.epochs or 0))
        active.steps += 1
        active.epochs[seed_index] = active.epochs.get(seed_index, 0) + 1
        repeated = active.steps <= active.known_steps
        if by_seed and first_of_seed and seed_index and not repeated:
            # The Wilcoxon test compares seed by seed: here a step is a seed, and its value that seed's best.
            active.trial.report(active.best[max(active.best)], step=max(active.best))
        best = active.best.get(seed_index, value)
        active.best[seed_index] = max(best, value, key=lambda x: self._sign * x)
        if repeated:
            return True
        if not by_seed:
            active.trial.report(value, step=active.steps)
        elif not (first_of_seed and seed_index):
            return True
        # should_prune() reads the whole trial from the storage, even if the pruner never prunes.
        return not self.prunes or not active.trial.should_prune()

    def tell(self, active: ActiveTrial, ending: Ending) -> float | None:
        """Record how a trial ended; return its value, the mean over seeds of the best finite metric over the epochs.

        Returns None and writes nothing if the trial was ended from outside; see `active.interference`.
        """
        if active.interference is None:
            try:
                return self._tell(active, ending)
            except INTERFERED:
                if not self._interfered(active):
                    raise
        return None

    def _interfered(self, active: ActiveTrial) -> bool:
        """Whether the trial was ended from outside, or its study deleted; stored in `active.interference`."""
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
            # Before the trial's state is set: if the driver is killed in between, the trial is retried.
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
            # Code that raised is fixed before its cell is retried, so the retry starts from the beginning.
            active.checkpoint.unlink(missing_ok=True)
        return mean(values) if kind == "finished" else None

    def _fail_lost(self) -> None:
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = optuna.Trial(self.study, frozen._trial_id)
            trial.set_user_attr("fail_reason", "lost")
            self.study.tell(trial, state=TrialState.FAIL)

    def _begin(self, queued: Queued) -> optuna.Trial:
        """Create a RUNNING trial with its parameters set, in one write.

        Optuna's `enqueue_trial` and `ask` need five writes and scan all waiting trials, so that several processes can
        share a queue. Here one process asks.
        """
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=queued.parameters,
            distributions=self._distributions,
            user_attrs={} if queued.retry_of is None else {RETRY_OF: queued.retry_of},
        )
        return optuna.Trial(self.study, self._storage.create_new_trial(self._study_id, template))
