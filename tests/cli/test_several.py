"""`epsearch run --optimizers`: a study for each of several optimizers, and their comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from epsearch import pipeline
from epsearch.core.errors import StudyError
from epsearch.records.listener import Listener
from epsearch.records.outcome import Outcome
from epsearch.study.config import StudyConfig
from tests.conftest import CommandLine

STUDY = """
workload: {name: tabular, dataset: iris, model: mlp}
training: {epochs: 1}
search: {eps: [1e-6, 1e-3], lr: [1e-3, 1e-2], beta2: [0.9]}
engine: {name: inline}
"""


@pytest.fixture
def small(command_line: CommandLine) -> CommandLine:
    (command_line.folder / "s.yaml").write_text(STUDY)
    return command_line


def test_each_optimizer_has_its_study(small: CommandLine) -> None:
    """In a directory of its own, with a name of its own; AdaGrad has no beta2. The same command resumes all."""
    command = ("run", "s.yaml", "--optimizers", "adam, adagrad,adam", "--set", "training.epochs=2")
    code, out, err = small(*command)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line for line in lines if " of 2)" in line] == ["adam (1 of 2)", "adagrad (2 of 2)"]
    assert lines[-1] == "Comparison  runs/s/comparison.html"
    assert lines[-3].startswith("adam        torch.optim.Adam(params, lr=1e-2, betas=(0.9, 0.9), eps=")
    assert lines[-2].startswith("adagrad     torch.optim.Adagrad(params, lr=")
    assert " is best: accuracy 0." in lines[-4]
    page = (small.folder / "runs" / "s" / "comparison.html").read_text()
    assert "2 runs side by side" in page
    assert "s-adam" in page
    assert "s-adagrad" in page
    first, second = json.loads(small("report", "runs/s/adam", "runs/s/adagrad", "--json").out)
    assert (first["name"], first["optimizer"], second["name"]) == ("s-adam", "adam", "s-adagrad")
    code, out, _ = small(*command)
    assert code == 0
    assert out.count("nothing to do: all 4 trials have finished") == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--optimizers", "adam,rmsporp"], "--optimizers: 'rmsporp' is not an optimizer. Did you mean \"rmsprop\"?"),
        (["--optimizers", "adam,"], "--optimizers: '' is not an optimizer. Choose from: adagrad, rmsprop, adam,"),
        (["--optimizers", "adam,sgd_momentum"], "--optimizers: 'sgd_momentum' is not an optimizer."),
        (["--optimizers", "adam", "--set", "training.epochs=0"], "--set training.epochs=0: training.epochs: expected"),
        (["--optimizers", "adam", "--dir", "s.yaml/x"], "cannot be used as a run directory (Not a directory)"),
    ],
)
def test_wrong_optimizers(arguments: list[str], expected: str, small: CommandLine) -> None:
    """One line, before anything runs."""
    code, out, err = small("run", "s.yaml", *arguments)
    assert code == 2
    assert expected in err
    assert len(err.splitlines()) == 1
    assert "trials:" not in out


def test_studies_in_one_storage(small: CommandLine) -> None:
    """Their names differ, so they do not mix."""
    storage = f"engine.storage=sqlite:///{small.folder}/all.db"
    assert small("run", "s.yaml", "--optimizers", "adam,rmsprop", "--dir", "d", "--set", storage).code == 0
    assert (small.folder / "d" / "comparison.html").exists()


def test_one_fails_and_the_others_run(small: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study = pipeline.run_study

    def failing(config: StudyConfig, place: Path, listener: Listener, *, take_over: bool) -> Outcome:
        if config.optimizer.name == "adam":
            raise StudyError("no trial has a value.")
        return run_study(config, place, listener, take_over=take_over)

    monkeypatch.setattr(pipeline, "run_study", failing)
    code, out, err = small("run", "s.yaml", "--optimizers", "adam,rmsprop,adamw")
    assert (code, err) == (1, "epsearch: adam: no trial has a value.\n")
    assert out.endswith("Comparison  runs/s/comparison.html\n")
    assert "2 runs side by side" in (small.folder / "runs" / "s" / "comparison.html").read_text()


def test_an_interruption_names_the_whole_command(small: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_study", interrupted)
    code, _, err = small("run", "s.yaml", "--optimizers", "adam,rmsprop", "--dir", "d")
    assert code == 130
    assert err.endswith("Resume with: epsearch run s.yaml --dir d --optimizers adam,rmsprop\n")
