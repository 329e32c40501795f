"""Every sampler and every pruner, over a study in Optuna's in-memory storage that the inline engine runs."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from epsearch.engines.base import open_engine
from epsearch.records.listener import SILENT
from epsearch.records.trial import Trial
from epsearch.registry.samplers import PRUNERS, SAMPLERS
from epsearch.search.results import records
from epsearch.search.study import SharedStudy
from epsearch.study.file import load_study
from epsearch.study.plan import spaces
from tests.conftest import INLINE, StudyFolder

BOWL = """
    import math

    def train(run):
        for epoch in run.epochs():
            score = -abs(math.log10(run.lr) + 2) - 0.1 * abs(math.log10(run.eps) + 6) - 1 / (epoch + 1)
            run.report(score=score - 1e-3 * run.seed)
"""

EPS = {"low": 1e-8, "high": 1e-4}


@pytest.fixture(autouse=True)
def silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Search:
    """A search that each run resumes."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder, self._storage = folder, optuna.storages.InMemoryStorage()

    def __call__(self, engine: dict[str, Any], **sections: Any) -> list[Trial]:
        config = load_study(self._folder.write(BOWL, engine={**INLINE, **engine}, **sections))
        ((optimizer, space),) = spaces(config, None, None).items()
        study = SharedStudy(self._storage, config, optimizer, space)
        with open_engine(config, self._folder.run_directory / "logs") as running:
            running.search([study], SILENT)
        return records(study.study, optimizer, config.training)


@pytest.fixture
def search(study_folder: StudyFolder) -> Search:
    return Search(study_folder)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in ("grid", "guided")])
def test_every_sampler(sampler: str, search: Search) -> None:
    """Continuous axes, β₂ in powers of ten of 1 - β₂; every value lies in the space, and none repeats."""
    axes = {"eps": EPS, "lr": {"low": 1e-4, "high": 1e-1}, "beta2": {"low": 0.9, "high": 0.999}}
    trials = search({"sampler": sampler, "trials": 12}, search=axes)
    assert [trial.state for trial in trials] == ["complete"] * 12
    for trial in trials:
        assert 1e-4 <= (trial.lr or 0) <= 1e-1
        assert 1e-8 <= (trial.eps or 0) <= 1e-4
        assert 0.9 <= (trial.beta2 or 0) <= 0.999
    assert len({trial.lr for trial in trials}) == 12
    # Asking for more resumes the study and does not repeat the first draws.
    more = search({"sampler": sampler, "trials": 16}, search=axes)
    assert more[:12] == trials
    assert len({(trial.lr, trial.eps) for trial in more}) == len(more) == 16


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner(pruner: str, search: Search) -> None:
    """Every trial is run once, and every pruner stops hopeless trials here."""
    training = {"epochs": 9, "seeds": [0, 1, 2, 3, 4, 5]}
    trials = search({"sampler": "random", "trials": 25, "pruner": pruner}, training=training, search={"eps": EPS})
    states = [trial.state for trial in trials]
    assert len(states) == 25
    assert set(states) <= {"complete", "pruned"}
    assert ("pruned" in states) == (pruner != "none")
    best = max((trial for trial in trials if trial.state == "complete"), key=lambda trial: trial.value or -1e9)
    assert best.spread is not None
    assert all(trial.epochs < 54 for trial in trials if trial.state == "pruned")
