"""The outcome of a study, from its storage and its run directory."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from epsearch.core.errors import UserError
from epsearch.core.messages import mask_url
from epsearch.core.numbers import count
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeHistory
from epsearch.records.setup import Setup
from epsearch.records.widening import Widening
from epsearch.search.results import records
from epsearch.search.study import PLANNED, WIDENED
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.plan import axis_kinds


def load_outcome(config: StudyConfig, studies: Mapping[str, optuna.Study], run_dir: RunDirectory) -> Outcome:
    """The outcome as the report needs it; `studies` are the Optuna studies by optimizer.

    Raises:
        UserError: The last report has trials, but the storage has none.
    """
    trials = [trial for optimizer, study in studies.items() for trial in records(study, optimizer, config.training)]
    if not trials and (before := run_dir.trials_reported()):
        raise UserError(
            f"{run_dir.path}: trials.csv has {count(before, 'trial')}, but "
            f'{mask_url(run_dir.storage(config))} has none of the study "{config.name}". The report was not changed. '
            "Was the study deleted from the storage, or moved to another one?"
        )
    main = studies.get(config.optimizer.name)
    probe = run_dir.load_probe()
    outcome = Outcome(
        name=config.name,
        metric=config.metric.name,
        goal=config.goal,
        optimizer=config.optimizer.name,
        probe=probe,
        trials=trials,
        directory=run_dir.path,
        sampler=config.engine.sampler,
        planned=main.user_attrs.get(PLANNED, 0) if main else 0,
        axes=axis_kinds(config, probe.range if probe else None),
        lr_test=run_dir.load_lr_test() if config.search.lr == "auto" else None,
        widenings=[Widening.model_validate(each) for each in main.user_attrs.get(WIDENED, [])] if main else [],
        setup=_setup(config, studies),
    )
    if outcome.best is not None and (history := run_dir.history(outcome.best.number)).exists():
        outcome = outcome.model_copy(update={"history": ProbeHistory.load(history)})
    return outcome


def _setup(config: StudyConfig, studies: Mapping[str, optuna.Study]) -> Setup:
    """What was trained, and the day on which the last trial ended."""
    workload, training = config.workload, config.training
    ends = [
        trial.datetime_complete
        for study in studies.values()
        for trial in study.get_trials(deepcopy=False)
        if trial.datetime_complete is not None
    ]
    return Setup(
        model=workload.model or workload.object or workload.train or "",
        data=workload.dataset,
        epochs=training.epochs,
        seeds=len(training.seeds),
        day=max(ends).date() if ends else None,
    )
