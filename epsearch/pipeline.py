"""The stages in order: study file -> data -> probe -> space -> engine -> report.

Each leaves a record in the run directory, so that a killed study goes on where it was. Modules of a stage are
imported when it runs: reading a study file needs no Optuna, and the driver never needs torch.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from epsearch.core.commands import command
from epsearch.core.errors import StudyError, UserError
from epsearch.core.messages import mask_url, shown
from epsearch.core.numbers import count
from epsearch.records.listener import Listener
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeHistory, ProbeResult
from epsearch.redrawing import Redrawing
from epsearch.search.failures import of_system, reported
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study
from epsearch.study.plan import spaces
from epsearch.study.space import Space

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from epsearch.engines.base import Engine

SILENT = Listener()


def run(
    study: str | Path,
    overrides: Sequence[str] = (),
    directory: str | Path | None = None,
    listener: Listener = SILENT,
    *,
    take_over: bool = False,
) -> Outcome:
    """Carry a study file through, or go on with it where it was left; the report is in the run directory.

    `overrides` are `key=value` texts such as `training.epochs=15`; `directory` is `runs/<name>` unless given. With
    `take_over`, a driver that is running the same study in the same storage is stopped, instead of refusing.

    Raises:
        UserError: the input is wrong; the message says what and how to mend it.
        StudyError: the study could not be carried through; what was computed is kept.
    """
    from epsearch.engines.base import open_engine
    from epsearch.report.output.write import is_current
    from epsearch.search.lease import leased
    from epsearch.search.storage import open_storage

    config = load(study, overrides)
    place = run_directory(config, directory)
    with place.taken_for(config), open_engine(config, place.logs) as engine, reported(config, place):
        storage = open_storage(place.storage(config), config.where("engine.storage"))  # before an epoch is spent
        with leased(storage, config, place, listener, take_over=take_over):
            data_stage(config, listener)
            found = probe_stage(config, place, engine, listener)
            arms = spaces(config, found.range if found else None, _batches_per_epoch(config, place, found, engine))
            ran = search_stage(config, storage, place, engine, arms, listener)
            return report_stage(config, storage, place, listener, redraw=ran or not is_current(place.report))


def probe(
    study: str | Path,
    overrides: Sequence[str] = (),
    directory: str | Path | None = None,
    listener: Listener = SILENT,
) -> ProbeResult | None:
    """The probe stage alone: its record is kept in the run directory, and a later `run` uses it.

    None where the study file gives ε itself. Raises as `run` does.
    """
    from epsearch.engines.base import open_engine

    config = load(study, overrides)
    place = run_directory(config, directory)
    with place.taken_for(config), open_engine(config, place.logs) as engine, reported(config, place):
        data_stage(config, listener)
        return probe_stage(config, place, engine, listener)


def report(directory: str | Path, listener: Listener = SILENT) -> Outcome:
    """Redraw the report of a run directory, also while its study is running. Needs no torch and no GPU."""
    from epsearch.search.storage import open_storage

    place = RunDirectory(Path(directory))
    config = place.load()
    with reported(config, place):
        return report_stage(
            config, open_storage(place.storage(config), config.where("engine.storage")), place, listener, redraw=True
        )


def load(study: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file whose storage there is a driver for.

    Raises:
        UserError: a key is wrong, or nothing can open the storage.
    """
    config = load_study(study, overrides)
    if config.engine.storage is not None:
        from epsearch.search.storage import check_url

        check_url(config.engine.storage, config.where("engine.storage"))
    return config


def run_directory(config: StudyConfig, directory: str | Path | None) -> RunDirectory:
    """`directory`, or `runs/<name>` below the working folder.

    Raises:
        UserError: the name cannot be a file's in this locale.
    """
    try:
        os.fsencode(config.name)
    except UnicodeEncodeError as error:
        raise UserError(
            f"{config.where('name')}: {shown(config.name)} has letters that file names cannot have in this locale "
            f"({error.encoding}); set PYTHONUTF8=1, or choose a name without them."
        ) from error
    return RunDirectory(Path(directory) if directory else Path("runs") / config.name)


def data_stage(config: StudyConfig, listener: Listener) -> None:
    """Download what is missing of the dataset, before workers wait for it.

    Raises:
        UserError: it is not there and cannot be had.
    """
    from epsearch.workloads.downloads import fetch_all

    if config.workload.dataset is not None:
        fetch_all(config.workload.dataset, listener.downloading)


def probe_stage(config: StudyConfig, place: RunDirectory, engine: Engine, listener: Listener) -> ProbeResult | None:
    """The probe's record, made now or by an earlier run; None where the study gives ε itself."""
    if not config.search.needs_probe:
        return None
    result = load_probe(place)
    reused = result is not None
    if result is None:
        epochs = config.probe.epochs
        listener.stage(f"probe: {epochs} epoch{'s' * (epochs > 1)} of training to read the range of eps")
        result = engine.call("probe")
        result.save(place.probe)
    listener.probed(result, reused=reused)
    return result


def load_probe(place: RunDirectory) -> ProbeResult | None:
    """The record of an earlier probe; None if there is none.

    Raises:
        UserError: it was changed by hand, or damaged.
    """
    return ProbeResult.load(place.probe) if place.probe.exists() else None


def _batches_per_epoch(
    config: StudyConfig, place: RunDirectory, found: ProbeResult | None, engine: Engine
) -> int | None:
    """For the β₂ rule: as the probe counted them, or counted now."""
    if not config.needs_batches:
        return None
    if found is None:
        return int(engine.call("batches"))
    if "batches_per_epoch" not in found.settings:
        raise UserError(f"{place.probe}: settings.batches_per_epoch is missing. Delete the file to probe again.")
    return int(found.settings["batches_per_epoch"] or 1)


def search_stage(
    config: StudyConfig,
    storage: BaseStorage,
    place: RunDirectory,
    engine: Engine,
    arms: Mapping[str, Space],
    listener: Listener,
) -> bool:
    """Run every trial that is not settled yet; False if there was none."""
    from epsearch.search.study import SharedStudy

    place.begin_trials()
    studies = [SharedStudy(storage, config, optimizer, space, place) for optimizer, space in arms.items()]
    settled, left = sum(study.done for study in studies), sum(study.left for study in studies)
    listener.trials_planned(settled + left, settled, studies[0].best())
    with Redrawing(listener, config, place) as redrawing:
        engine.search(studies, redrawing)
    if deleted := [study.study.study_name for study in studies if study.deleted]:
        with contextlib.suppress(Exception):  # of what is left
            report_stage(config, storage, place, SILENT, redraw=True)
        names = " and ".join(f'"{name}"' for name in deleted)
        raise StudyError(
            f"{names} was deleted from {mask_url(place.storage(config))} while it ran, by Optuna's dashboard or API. "
            "To start it again, run the same command."
        )
    return left > 0


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's garbage collector, which would look through all trials again and again: a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_uncollected()
def report_stage(
    config: StudyConfig, storage: BaseStorage, place: RunDirectory, listener: Listener, *, redraw: bool
) -> Outcome:
    """Collect the outcome; with `redraw`, write tables, figures and page, and show the figures in Optuna's dashboard.

    Raises:
        StudyError: no trial has a value to report, though the report is written; or it cannot be written.
    """
    from epsearch.report import figures, write_report
    from epsearch.report.output.publish import publish
    from epsearch.search.results import load_arms, records
    from epsearch.search.study import PLANNED

    studies = load_arms(storage, config)
    trials = [trial for optimizer, study in studies.items() for trial in records(study, optimizer, config.training)]
    if redraw and not trials and (before := place.trials_reported()):
        raise UserError(
            f"{place.path}: trials.csv holds {count(before, 'trial')}, but "
            f'{mask_url(place.storage(config))} has none of the study "{config.name}". The report stays as it is. '
            "Was the study deleted there, or moved to another storage?"
        )
    main = studies.get(config.optimizer.name)
    outcome = Outcome(
        name=config.name,
        metric=config.metric.name,
        goal=config.goal,
        optimizer=config.optimizer.name,
        probe=load_probe(place),
        trials=trials,
        directory=place.path,
        sampler=config.engine.sampler,
        planned=main.user_attrs.get(PLANNED, 0) if main else 0,
    )
    if outcome.best is not None and (history := place.history(outcome.best.number)).exists():
        outcome = outcome.model_copy(update={"progress": ProbeHistory.load(history)})
    if redraw:
        listener.stage("report")
        drawn = figures(outcome)
        try:
            write_report(outcome, drawn)
        except OSError as error:
            raise StudyError(
                f"the report could not be written to {place.path}: {of_system(error)} Every trial is kept. "
                f"Draw it again: {command('report', place.path)}"
            ) from error
        if main:
            publish(main, outcome, drawn)
    if outcome.trials and not any(trial.value is not None for trial in outcome.trials):
        raise StudyError(f"no trial has a value; {place.path / 'trials.csv'} says why for each.")
    return outcome


def check_own_code(config: StudyConfig) -> None:
    """Import the user's module that the study names, in a process of its own.

    Raises:
        UserError: it is not there, raises, or lacks the name.
    """
    from epsearch.engines.local.pool import Pool

    if config.workload.name is not None:
        return
    with tempfile.TemporaryDirectory() as logs, Pool(config, 1, Path(logs)) as pool:
        pool.call("ready")
