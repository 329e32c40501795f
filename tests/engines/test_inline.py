"""The inline engine: what differs from the others because the user's code runs in the driver's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

import epsearch
from epsearch.records.trial import Trial
from epsearch.study.file import load_study
from tests.conftest import EPSEARCH, INLINE, StudyFolder

THREE = {"search": {"eps": [1e-8, 1e-6, 1e-4], "lr": 0.01, "beta2": 0.999}}


@pytest.fixture(autouse=True)
def silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def run(folder: StudyFolder, module: str, **sections: Any) -> dict[float | None, Trial]:
    """The last trial of each eps, after a run in this process."""
    engine = {**INLINE, **sections.pop("engine", {})}
    file = folder.write(module, engine=engine, **{**THREE, **sections})
    return {trial.eps: trial for trial in epsearch.run(file, directory=folder.run_directory).trials}


def stored(folder: StudyFolder) -> list[Trial]:
    """The trials of a study whose run raised."""
    from epsearch.search.results import load_arms, records
    from epsearch.search.storage import open_storage

    config = load_study(folder.path / "study.yaml")
    studies = load_arms(open_storage(folder.storage), config)
    return records(studies["adam"], "adam", config.training)


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("workers", 2, "write name: optuna or ray"),
        ("trial_timeout", 5, "write name: optuna or ray"),
        ("max_failures", 1, "write name: optuna or ray"),
        ("address", "auto", "write name: ray"),
    ],
)
def test_keys_without_a_meaning_are_refused(key: str, value: object, remedy: str, study_folder: StudyFolder) -> None:
    file = study_folder.write("", engine={"name": "inline", key: value})
    with pytest.raises(epsearch.UserError, match=f"engine.{key}: does not apply to the engine inline; .*{remedy}"):
        load_study(file)


def test_it_runs_in_this_process_and_cleans_up(study_folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's module is forgotten afterwards; the storage's password is not in its environment."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("EPSEARCH_STORAGE", study_folder.storage)
    study_folder.run_directory.mkdir()
    path = list(sys.path)
    trials = run(
        study_folder,
        """
        import os
        def train(run):
            assert "EPSEARCH_STORAGE" not in os.environ
            run.report(score=os.getpid())
        """,
    )
    assert {trial.value for trial in trials.values()} == {os.getpid()}
    assert sys.path == path
    assert "my_code" not in sys.modules
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["EPSEARCH_STORAGE"] == study_folder.storage


def test_sys_exit_ends_its_trial_alone(study_folder: StudyFolder) -> None:
    trials = run(
        study_folder,
        """
        import sys
        def train(run):
            if run.eps == 1e-6:
                sys.exit("enough")
            run.report(score=run.eps)
        """,
    )
    assert (trials[1e-6].fail_reason, trials[1e-6].error) == ("raised", "SystemExit: enough")
    assert trials[1e-8].value == 1e-8
    assert 'sys.exit("enough")' in (study_folder.run_directory / "logs" / "inline.log").read_text()


@pytest.mark.parametrize(
    "stop",
    [
        "raise KeyboardInterrupt",
        "import bdb; raise bdb.BdbQuit",
        "import signal; signal.raise_signal(signal.SIGINT)",
        """
                try:
                    import signal; signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    pass
        """,
    ],
    ids=["raised", "debugger quit", "Ctrl-C", "Ctrl-C caught by the user's code"],
)
def test_an_interrupt_stops_the_study(stop: str, study_folder: StudyFolder) -> None:
    """The running trial is lost, and the next run retries it; the one before it is kept."""
    module = f"""
        import os
        def train(run):
            if run.eps == 1e-8 and "RESUMED" not in os.environ:
                {stop.strip()}
            run.report(score=run.eps)
        """
    with pytest.raises(KeyboardInterrupt):
        run(study_folder, module)
    before = {trial.eps: trial for trial in stored(study_folder)}
    assert {eps: (trial.state, trial.fail_reason) for eps, trial in before.items()} == {
        1e-6: ("complete", None),  # a grid starts in the middle
        1e-8: ("failed", "lost"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESUMED", "1")
        trials = run(study_folder, module)
    assert {eps: trial.value for eps, trial in trials.items()} == {eps: eps for eps in (1e-8, 1e-6, 1e-4)}


def test_an_interrupt_while_reporting_waits_for_the_storage(
    study_folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the middle of a write takes effect after it: the epoch's value is in the storage."""
    module = """
        def train(run):
            for epoch in run.epochs():
                run.report(score=epoch + 1.0)
        """
    report = optuna.Trial.report

    def interrupted(trial: optuna.Trial, value: float, step: int) -> None:
        signal.raise_signal(signal.SIGINT)
        report(trial, value, step)

    monkeypatch.setattr(optuna.Trial, "report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(study_folder, module)
    (trial,) = stored(study_folder)
    assert (trial.fail_reason, trial.history) == ("lost", [(1, 1.0)])


@pytest.mark.parametrize("together", [1, 3])
def test_out_of_memory_ends_the_study(together: int, study_folder: StudyFolder) -> None:
    """No other process could continue: the trial has died, and the message names the remedy."""
    with pytest.raises(epsearch.StudyError, match=r"out of memory .*cannot continue.*engine\.name=optuna"):
        run(study_folder, "def train(run):\n    raise MemoryError('no more')", engine={"together": together})
    trials = stored(study_folder)
    assert {trial.fail_reason for trial in trials} == {"died"}
    assert len(trials) == together


def test_hopeless_studies_stop(study_folder: StudyFolder) -> None:
    with pytest.raises(epsearch.StudyError, match="the first 3 trials all failed, the last with: ValueError: never"):
        run(study_folder, "def train(run):\n    raise ValueError('never')")


def test_a_mistake_that_every_trial_would_meet(study_folder: StudyFolder) -> None:
    with pytest.raises(epsearch.UserError, match=r"metric\.name is \"score\""):
        run(study_folder, "def train(run):\n    run.report(other=1.0)")


def test_a_forked_child_writes_nothing(study_folder: StudyFolder) -> None:
    trials = run(
        study_folder,
        """
        import os
        def train(run):
            child = os.fork()
            run.report(score=1.0 if child else 2.0)
            os.waitpid(child, 0)
        """,
    )
    assert [trial.history for trial in trials.values()] == [[(1, 1.0)]] * 3


def test_a_breakpoint(study_folder: StudyFolder) -> None:
    """The debugger reads standard input: here it prints a variable and continues."""
    study_folder.write(
        """
        def train(run):
            answer = 41 + 1
            breakpoint()
            run.report(score=1.0)
        """,
        engine=INLINE,
        search={**THREE["search"], "eps": 1e-8},
    )
    command = [*EPSEARCH, "run", str(study_folder.path / "study.yaml"), "--dir", str(study_folder.run_directory)]
    done = subprocess.run(
        command, input="p answer * 2\nc\n", capture_output=True, text=True, timeout=120, cwd=study_folder.path
    )
    assert done.returncode == 0, done.stderr
    assert "84" in done.stdout


def test_a_command_that_trained_ends_quietly(study_folder: StudyFolder) -> None:
    """Torch is loaded in the driver: what its libraries leave behind is not printed as leaked."""
    module = """
        import torch

        def train(run):
            model = torch.nn.Linear(4, 1)
            optimizer = run.optimizer(model)
            for epoch in run.epochs():
                model(torch.ones(2, 4)).sum().backward()
                optimizer.step()
                run.report(score=1.0)
        """
    study_folder.write(module, engine=INLINE, search={"eps": 1e-8, "lr": 1e-3}, training={"epochs": 1})
    done = study_folder.run()
    assert (done.returncode, done.stderr) == (0, "")


def test_training_in_lockstep(study_folder: StudyFolder) -> None:
    """`together` trains several trials over the same batches; their values are those of trials trained alone."""
    sections: dict[str, Any] = {
        "workload": {"train": None, "name": "vision", "dataset": "digits", "model": "mlp"},
        "metric": {"name": "accuracy", "goal": None},
        "training": {"epochs": 1},
    }
    values = []
    for together in (1, 3):
        folder = StudyFolder(study_folder.path / str(together))
        folder.path.mkdir()
        trials = run(folder, "", engine={"together": together}, **sections)
        values.append({eps: trial.value for eps, trial in trials.items()})
    assert values[0] == values[1]
    assert len(values[0]) == 3
    assert Path(folder.run_directory / "report.html").exists()
