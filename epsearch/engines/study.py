"""The study that every engine asks and tells: one arm's cells in one Optuna study.

Only the driving process writes to the storage. A trial is *settled* when it is COMPLETE, PRUNED, or FAILed because
it diverged; a FAIL for any other reason (the user's code raised, its process died, its driver was lost) leaves its
cell to be tried again by the next run.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from epsearch.averages import mean, spread
from epsearch.commands import install
from epsearch.config import StudyConfig, TrainingSection, identity
from epsearch.engines.outside import INTERFERED, interference, is_deleted
from epsearch.engines.table import PRUNERS, SAMPLERS, SCHEDULERS
from epsearch.errors import UserError
from epsearch.loading import load_object
from epsearch.optimizers.table import BASELINES
from epsearch.progress import Best
from epsearch.records import Cell, Ending, Trial
from epsearch.rundir import RunDirectory
from epsearch.space import Interval, Space, beta2_of, cells
from epsearch.wording import mask_url

IDENTITY = "epsearch:study"
RETRY_OF = "retry_of"
SEED_EPOCHS = "seed_epochs"
PLANNED = "epsearch:planned"
"""Attribute of an arm's study: how many trials the last run was to end with, those of earlier runs included."""
COMPLEMENT = "one_minus_beta2"
"""β₂ is searched log-uniformly in 1 - β₂, which Optuna must therefore know under a name of its own."""


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
        self.prunes = config.engine.pruner not in ("none", *SCHEDULERS)
        self.independent = self._grid or SAMPLERS[config.engine.sampler].independent
        """Whether the next trial does not depend on the outcome of earlier ones."""
        self.study = optuna.create_study(
            storage=storage,
            study_name=study_name(config, optimizer),
            direction=config.goal,
            # Never asked where all parameters are given; replaced below where outcomes steer the search.
            sampler=optuna.samplers.RandomSampler(),
            pruner=_pruner(config),
            load_if_exists=True,
        )
        self._study_id = storage.get_study_id_from_name(self.study.study_name)
        self._check_identity()
        self._settle_lost()
        trials = self.study.get_trials(deepcopy=False)
        self.settled = sum(is_settled(trial) for trial in trials)
        """Trials that earlier runs settled."""
        if self.independent:
            self._queue = deque(_missing(trials, cells(space) if self._grid else _draws(config, self._distributions)))
        else:
            self._queue = deque(_retries(trials, self._distributions))
            # A sampler with the same seed would repeat its start-up points when the study goes on.
            self.study.sampler = _sampler(config, config.engine.seed + len(trials))
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
        by_seed = self._config.engine.pruner == "wilcoxon"
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


class Queued(NamedTuple):
    """Parameters to be tried next; of those tried before, the failed trial and the first one in the row of retries."""

    parameters: dict[str, float]
    retry_of: int | None = None
    first_try: int | None = None


# What is to be tried is worked out from the trials themselves: a kill between any two writes loses nothing.


def _missing(trials: Sequence[FrozenTrial], wanted: Sequence[dict[str, float]]) -> Iterator[Queued]:
    """Of the cells wanted, those that are neither settled nor enqueued."""
    standing = Counter(_key(trial.params) for trial in trials if is_settled(trial) or trial.state == TrialState.WAITING)
    failed = {_key(trial.params): trial for trial in trials if trial.state == TrialState.FAIL and not is_settled(trial)}
    for cell in wanted:
        key = _key(cell)
        if standing[key]:
            standing[key] -= 1
        elif (trial := failed.pop(key, None)) is not None:
            yield _again(trials, trial)
        else:
            yield Queued(cell)


def _retries(trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]) -> Iterator[Queued]:
    """What a sampler drew and failed without being settled, once for each such trial."""
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        # A trial killed before all of its parameters were drawn had no cell yet.
        drawn = trial.params.keys() == space.keys()
        if trial.state == TrialState.FAIL and not is_settled(trial) and drawn and trial.number not in retried:
            yield _again(trials, trial)


def _again(trials: Sequence[FrozenTrial], failed: FrozenTrial) -> Queued:
    first = failed.number
    while (before := trials[first].user_attrs.get(RETRY_OF)) is not None:
        first = before
    return Queued(failed.params, failed.number, first)


def study_name(config: StudyConfig, optimizer: str) -> str:
    """The Optuna study of one arm: the study's own name, with the baseline's added."""
    return config.name if optimizer == config.optimizer.name else f"{config.name}: {optimizer}"


def load_arms(storage: optuna.storages.BaseStorage, config: StudyConfig) -> dict[str, optuna.Study]:
    """The Optuna studies of the arms that have begun, by optimizer."""
    begun = set(optuna.get_all_study_names(storage))
    names = {arm: study_name(config, arm) for arm in (config.optimizer.name, *config.search.baselines)}
    return {arm: optuna.load_study(study_name=name, storage=storage) for arm, name in names.items() if name in begun}


def records(study: optuna.Study, optimizer: str, training: TrainingSection) -> list[Trial]:
    """Every trial of an arm as plain data, in the order they were made; `training` is the study's section."""
    sign = 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
    return [_record(trial, optimizer, training, sign) for trial in study.get_trials(deepcopy=False)]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs, as `training.epochs was 20, is 30; …`; only keys that both know are compared."""
    changed = [key for key in old if key in new and old[key] != new[key]]
    return "; ".join(f"{key} was {json.dumps(old[key])}, is {json.dumps(new[key])}" for key in changed)


def is_settled(trial: FrozenTrial) -> bool:
    """Whether a trial's cell needs no further try."""
    if trial.state == TrialState.FAIL:
        return trial.user_attrs.get("fail_reason") == "diverged"
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def distributions(space: Space, *, grid: bool) -> dict[str, BaseDistribution]:
    """The space in Optuna's words.

    A grid's points lie on a float axis, so that a later run can widen it; a sampler chooses among points as
    categories, and from an interval log-uniformly.
    """
    found: dict[str, BaseDistribution] = {}
    for name, axis in space.items():
        if isinstance(axis, Interval):
            if name == "beta2":
                found[COMPLEMENT] = FloatDistribution(beta2_of(axis.high), beta2_of(axis.low), log=True)
            else:
                found[name] = FloatDistribution(axis.low, axis.high, log=True)
        elif grid or len(axis.values) == 1:
            found[name] = FloatDistribution(min(axis.values), max(axis.values), log=name != "beta2")
        else:
            found[name] = CategoricalDistribution(axis.values)
    return found


def cell_of(optimizer: str, parameters: Mapping[str, Any]) -> Cell:
    """The cell that Optuna's parameters stand for."""
    beta2 = parameters.get("beta2")
    if COMPLEMENT in parameters:
        beta2 = beta2_of(parameters[COMPLEMENT])
    return Cell(optimizer=optimizer, lr=parameters["lr"], eps=parameters.get("eps"), beta2=beta2)


def _key(parameters: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, f"{value:.12g}") for name, value in parameters.items()))


def _draws(config: StudyConfig, space: Mapping[str, BaseDistribution]) -> list[dict[str, float]]:
    """All points of a sampler whose draws are independent: the same for a seed, however often a study goes on."""
    optuna_level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scratch = optuna.create_study(sampler=_sampler(config, config.engine.seed))
    optuna.logging.set_verbosity(optuna_level)
    drawn = []
    for _ in range(config.engine.trials or 0):
        trial = scratch.ask(fixed_distributions=dict(space))
        scratch.tell(trial, 0.0)
        drawn.append(trial.params)
    return drawn


def _sampler(config: StudyConfig, seed: int) -> optuna.samplers.BaseSampler:
    row = SAMPLERS[config.engine.sampler]
    assert row.path is not None, "a grid is no sampler"
    arguments: dict[str, Any] = {"seed": seed}
    if config.engine.sampler == "tpe" and config.engine.concurrent:
        arguments["constant_liar"] = True
    if config.engine.sampler == "qmc":
        arguments["scramble"] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            sampler: optuna.samplers.BaseSampler = load_object(row.path)(**arguments)
            return sampler
        except ImportError as error:
            raise UserError(
                f"engine.sampler: {config.engine.sampler} needs a package that is not installed "
                f"({' '.join(str(error).split()):.150}): {install(config.engine.sampler)}"
            ) from error


def _pruner(config: StudyConfig) -> optuna.pruners.BasePruner:
    arguments: dict[str, Any] = {"percentile": 25.0} if config.engine.pruner == "percentile" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner: optuna.pruners.BasePruner = load_object(PRUNERS.get(config.engine.pruner, PRUNERS["none"]))(**arguments)
    return pruner


def _seed_epochs(trial: FrozenTrial, training: TrainingSection) -> list[int]:
    """The epochs that each seed trained; empty where they are not known."""
    reports = len(trial.intermediate_values)
    if (noted := trial.user_attrs.get(SEED_EPOCHS)) is not None:
        return list(noted)
    if len(training.seeds) == 1:
        return [reports] if reports else []
    # Still running, or of an older version, which did not note them: sure only where every seed trained all of its own.
    seeds = len(trial.user_attrs.get("seed_values", []))
    each = training.epochs or reports // max(seeds, 1)
    return [each] * seeds if each * seeds == reports else []


def _record(trial: FrozenTrial, optimizer: str, training: TrainingSection, sign: int) -> Trial:
    parameters = trial.params
    known = cell_of(optimizer, parameters) if "lr" in parameters else None
    history = sorted(trial.intermediate_values.items())
    value = trial.value if trial.state == TrialState.COMPLETE else None
    if value is None:
        value = max((x for _, x in history if math.isfinite(x)), key=lambda x: sign * x, default=None)
    seed_values = trial.user_attrs.get("seed_values", [])
    seed_epochs = _seed_epochs(trial, training)
    states: dict[TrialState, Any] = {TrialState.FAIL: "failed"}
    return Trial(
        number=trial.number,
        optimizer=optimizer,
        state=states.get(trial.state, trial.state.name.lower()),
        lr=known.lr if known else None,
        eps=known.eps if known else None,
        beta2=known.beta2 if known else None,
        value=value,
        spread=spread(seed_values),
        seed_values=seed_values or ([value] if value is not None else []),
        seed_epochs=seed_epochs,
        epochs=sum(seed_epochs) or len(history),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        fail_reason=trial.user_attrs.get("fail_reason"),
        error=trial.user_attrs.get("error"),
        history=history,
    )
