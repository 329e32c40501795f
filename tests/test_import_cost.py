"""What is quick stays quick: torch, Optuna and Ray are loaded when they are used."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.report.sample import probe

HEAVY = ("torch", "optuna", "ray", "plotly", "sklearn", "sqlalchemy", "torchvision")

STUDY = "workload: {name: vision, dataset: digits, model: mlp}\n"


def loaded_by(code: str, folder: Path) -> set[str]:
    """Which of the heavy packages a fresh interpreter has loaded after `code`."""
    report = "\nimport sys\nprint('LOADED', *(name for name in sys.modules if '.' not in name))"
    result = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, cwd=folder)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split()) & set(HEAVY)


def command(*arguments: str) -> str:
    return (
        f"import sys\nfrom epsearch.cli.main import main\nsys.argv = ['epsearch', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import epsearch\nassert 'probe' in dir(epsearch)",
        "import epsearch\nepsearch.EpsilonRange(lower=1e-6, upper=1e-2).grid()",
        "import epsearch\nepsearch.convert_eps(1e-8, 'hat', 'outside'), epsearch.advice",
        "import epsearch.records, epsearch.study.space, epsearch.study.plan, epsearch.study.directory",
        command("--help"),
        command("run", "--help"),
        command("inspect", "--help"),
        command("--version"),
        command("list"),
        command("schema"),
        command("init", "new.yaml"),
        command("check", "study.yaml"),
    ],
)
def test_nothing_heavy(code: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    assert loaded_by(code, tmp_path) == set()


def test_the_guided_sampler_loads_no_torch(tmp_path: Path) -> None:
    """Nor scikit-learn before it has results to learn from."""
    asked = """
        import epsearch, optuna

        study = optuna.create_study(sampler=epsearch.GuidedSampler(epsearch.ProbeResult.load("probe.json")))
        for number in range({trials}):
            trial = study.ask()
            trial.suggest_float("lr", 1e-5, 1, log=True), trial.suggest_categorical("eps", [1e-8, 1e-4])
            study.tell(trial, 0.0)
    """
    probe().save(tmp_path / "probe.json")
    for trials, loaded in ((1, set()), (6, {"sklearn"})):
        assert loaded_by(textwrap.dedent(asked).format(trials=trials), tmp_path) & {"torch", "sklearn"} == loaded


def test_every_public_name_is_there() -> None:
    import epsearch

    for name in epsearch.__all__:
        assert getattr(epsearch, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        epsearch.nothing  # noqa: B018
