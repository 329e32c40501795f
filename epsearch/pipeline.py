"""The stages of a study, in order: study file → data → probe → lr test → space → search → report.

Each stage saves its results in the run directory, so that a study resumes where it stopped. Heavy modules are imported
by the stage that uses them: reading a study file does not load Optuna, and the driver never loads torch.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from epsearch.core.commands import command
from epsearch.core.errors import StudyError, UserError
from epsearch.core.garbage import without_garbage_collection
from epsearch.core.messages import mask_url
from epsearch.core.numbers import label
from epsearch.records.listener import SILENT, Listener
from epsearch.records.lr_test import STEPS, LrTest
from epsearch.records.outcome import Outcome
from epsearch.records.probe import ProbeResult
from epsearch.redrawing import Redrawing
from epsearch.search.failures import of_system, reported
from epsearch.search.guide import Guide
from epsearch.study.box import Box
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study
from epsearch.study.plan import spaces
from epsearch.study.space import Space, auto_beta2

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from epsearch.engines.base import Engine


def run(
    study: str | Path,
    overrides: Sequence[str] = (),
    directory: str | Path | None = None,
    listener: Listener = SILENT,
    *,
    take_over: bool = False,
) -> Outcome:
    """Run a study end to end, or resume it; the report is written to the run directory.

    Args:
        study: The study file.
        overrides: `key=value` settings that replace those of the file, such as `training.epochs=15`.
        directory: The run directory (default: `runs/<name>`).
        listener: Notified of progress.
        take_over: If another driver is running this study, stop it and continue in its place instead of raising.

    Raises:
        UserError: The input is wrong. The message explains the mistake and how to fix it.
        StudyError: The study could not be completed; results so far are kept.
    """
    return run_study(load(study, overrides), directory, listener, take_over=take_over)


def probe(
    study: str | Path,
    overrides: Sequence[str] = (),
    directory: str | Path | None = None,
    listener: Listener = SILENT,
) -> ProbeResult | None:
    """Run the probe only, and the learning-rate test if lr is auto.

    The results are saved in the run directory, and a later `run` uses them. Returns the probe's, or None if the study
    file sets the values of ε. Arguments and errors are those of `run`.
    """
    return probe_study(load(study, overrides), directory, listener)


def report(directory: str | Path, listener: Listener = SILENT) -> Outcome:
    """Redraw the report of a run directory, also while its study is running. Needs neither torch nor a GPU."""
    run_dir = RunDirectory(Path(directory))
    config = run_dir.load()
    with reported(config, run_dir):
        return report_stage(config, open_storage(config, run_dir), run_dir, listener, redraw=True)


def load(study: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file, and check that the driver of its storage is installed.

    Raises:
        UserError: A key is wrong, or the storage cannot be opened.
    """
    config = load_study(study, overrides)
    if config.engine.storage is not None:
        from epsearch.search.storage import check_url

        check_url(config.engine.storage, config.where("engine.storage"))
    return config


def run_study(
    config: StudyConfig, directory: str | Path | None = None, listener: Listener = SILENT, *, take_over: bool = False
) -> Outcome:
    """All stages after the study file: `run` of a study that has been loaded."""
    from epsearch.engines.base import open_engine
    from epsearch.report.output.write import is_current
    from epsearch.search.lease import leased

    run_dir = RunDirectory.of(config, directory)
    with run_dir.taken_for(config), open_engine(config, run_dir.logs) as engine, reported(config, run_dir):
        storage = open_storage(config, run_dir)  # a wrong URL fails before the probe
        with leased(storage, config, run_dir, listener, take_over=take_over):
            data_stage(config, listener)
            probed = probe_stage(config, run_dir, engine, listener)
            tested = lr_test_stage(config, run_dir, engine, probed, listener)
            searched = space_stage(config, run_dir, engine, probed, tested)
            guide = None if probed is None else Guide(probed, tested)
            ran = search_stage(config, storage, run_dir, engine, searched, listener, guide)
            return report_stage(config, storage, run_dir, listener, redraw=ran or not is_current(run_dir.report))


def probe_study(
    config: StudyConfig, directory: str | Path | None = None, listener: Listener = SILENT
) -> ProbeResult | None:
    """The stages up to the learning-rate test: `probe` of a study that has been loaded."""
    from epsearch.engines.base import open_engine

    run_dir = RunDirectory.of(config, directory)
    with run_dir.taken_for(config), open_engine(config, run_dir.logs) as engine, reported(config, run_dir):
        data_stage(config, listener)
        result = probe_stage(config, run_dir, engine, listener)
        lr_test_stage(config, run_dir, engine, result, listener)
        return result


def open_storage(config: StudyConfig, run_dir: RunDirectory) -> BaseStorage:
    """The study's Optuna storage.

    Raises:
        UserError: It cannot be opened.
    """
    from epsearch.search import storage

    return storage.open_storage(run_dir.storage(config), config.where("engine.storage"))


def data_stage(config: StudyConfig, listener: Listener) -> None:
    """Download the missing files of the dataset, once for all workers.

    Raises:
        UserError: A file is missing and cannot be downloaded.
    """
    from epsearch.workloads.downloads import fetch_all

    if config.workload.dataset is not None:
        fetch_all(config.workload.dataset, listener.downloading)


def probe_stage(config: StudyConfig, run_dir: RunDirectory, engine: Engine, listener: Listener) -> ProbeResult | None:
    """The probe's result, from now or from an earlier run; None if the study file sets the values of ε."""
    if not config.search.needs_probe:
        return None
    result = run_dir.load_probe()
    reused = result is not None
    if result is None:
        epochs = config.probe.epochs
        listener.working(f"probe: {epochs} epoch{'s' * (epochs > 1)} of training to find the range of eps")
        result = engine.call("probe", steps=listener.stepped)
        result.save(run_dir.probe)
    listener.probed(result, reused=reused)
    return result


def lr_test_stage(
    config: StudyConfig, run_dir: RunDirectory, engine: Engine, probed: ProbeResult | None, listener: Listener
) -> LrTest | None:
    """The learning-rate test at the range's smallest ε, from now or from an earlier run; None if lr is not auto.

    It trains with the β₂ of the trials if that is auto, from the number of batches that the probe counted.

    Raises:
        UserError: The probe's record lacks that number.
    """
    if config.search.lr != "auto":
        return None
    assert probed is not None, "auto needs the probe"
    test = run_dir.load_lr_test()
    reused = test is not None
    if test is None:
        eps, batches = probed.range.lower, _batches(config, run_dir, engine, probed)
        beta2 = None if batches is None else auto_beta2(batches, config.optimizer.beta1)
        listener.working(f"lr test: {STEPS} steps of training at eps {label('eps', eps)}, with rising lr", STEPS)
        test = engine.call("lr_test", eps, beta2, steps=listener.stepped)
        test.save(run_dir.lr_test)
    listener.lr_tested(test, reused=reused)
    return test


def space_stage(
    config: StudyConfig,
    run_dir: RunDirectory,
    engine: Engine,
    probed: ProbeResult | None,
    tested: LrTest | None = None,
) -> Mapping[str, Space]:
    """The search space of each optimizer: the searched one and the baselines.

    Raises:
        UserError: The probe's record lacks the number of batches, which β₂ auto needs.
    """
    batches = _batches(config, run_dir, engine, probed)
    box = Box(probed, tested) if probed and tested else None
    return spaces(config, probed.range if probed else None, batches, box)


def _batches(config: StudyConfig, run_dir: RunDirectory, engine: Engine, probed: ProbeResult | None) -> int | None:
    """The batches per epoch, if β₂ is auto: as the probe counted them; without a probe, they are counted now."""
    if not config.needs_batches:
        return None
    if probed is None:
        return int(engine.call("batches"))
    if "batches_per_epoch" not in probed.settings:
        raise UserError(f"{run_dir.probe}: settings.batches_per_epoch is missing. Delete the file to probe again.")
    return int(probed.settings["batches_per_epoch"] or 1)


def search_stage(
    config: StudyConfig,
    storage: BaseStorage,
    run_dir: RunDirectory,
    engine: Engine,
    searched: Mapping[str, Space],
    listener: Listener,
    guide: Guide | None = None,
) -> bool:
    """Run every trial that has not finished, and those that widen a grid. Returns False if all had finished before.

    Raises:
        StudyError: The study was deleted from the storage while it ran.
    """
    from epsearch.search.study import SharedStudy

    run_dir.begin_trials()
    studies = [SharedStudy(storage, config, optimizer, space, run_dir, guide) for optimizer, space in searched.items()]
    finished, left = sum(study.done for study in studies), sum(study.left for study in studies)
    listener.trials_planned(finished + left, finished, studies[0].best())
    with Redrawing(listener, functools.partial(_redraw, config, run_dir)) as redrawing:
        engine.search(studies, redrawing)
        while widenings := [widening for study in studies if (widening := study.widen()) is not None]:
            for widening in widenings:
                redrawing.widened(widening)
            engine.search(studies, redrawing)
    if deleted := [study.study.study_name for study in studies if study.deleted]:
        with contextlib.suppress(Exception):  # a report of the trials that remain, if there are any
            report_stage(config, storage, run_dir, SILENT, redraw=True)
        names = " and ".join(f'"{name}"' for name in deleted)
        raise StudyError(
            f"{names} was deleted from {mask_url(run_dir.storage(config))} while it ran, by Optuna's dashboard or API. "
            "To start it again, run the same command."
        )
    return left > 0


def _redraw(config: StudyConfig, run_dir: RunDirectory) -> None:
    report_stage(config, open_storage(config, run_dir), run_dir, SILENT, redraw=True)


@without_garbage_collection()  # it would scan all trials again and again, a third of the time
def report_stage(
    config: StudyConfig, storage: BaseStorage, run_dir: RunDirectory, listener: Listener, *, redraw: bool
) -> Outcome:
    """The outcome; with `redraw`, write tables, figures and page, and show the figures in Optuna's dashboard.

    Raises:
        StudyError: No trial has a value (the report is written all the same), or the report cannot be written.
        UserError: The storage has lost the trials of the last report.
    """
    from epsearch.report import figures, write_report
    from epsearch.report.output.publish import publish
    from epsearch.search.outcome import load_outcome
    from epsearch.search.results import load_arms

    studies = load_arms(storage, config)
    outcome = load_outcome(config, studies, run_dir)
    if redraw:
        listener.stage("report")
        drawn = figures(outcome)
        try:
            write_report(outcome, drawn)
        except OSError as error:
            raise StudyError(
                f"the report could not be written to {run_dir.path}: {of_system(error)} All trials are saved. "
                f"Redraw it with: {command('report', run_dir.path)}"
            ) from error
        if config.optimizer.name in studies:
            publish(studies[config.optimizer.name], outcome, drawn)
    if outcome.trials and not any(trial.value is not None for trial in outcome.trials):
        raise StudyError(f"no trial has a value; {run_dir.path / 'trials.csv'} gives the reason for each.")
    return outcome
