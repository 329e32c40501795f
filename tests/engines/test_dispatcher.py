"""The searched optimizer and the baselines side by side."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import optuna
import pytest

from epsearch.engines.dispatcher import Dispatcher
from epsearch.records.listener import Listener
from epsearch.records.trial import Ending
from epsearch.search.study import SharedStudy
from epsearch.study.file import load_study
from epsearch.study.space import Points

STUDY = """
workload: {train: "a:b"}
metric: {name: score, goal: maximize}
search: {eps: [1e-8, 1e-6, 1e-4], lr: {low: 1e-4, high: 1e-1}, beta2: 0.9, baselines: [sgd_momentum]}
"""
LR, SGD_LR, EPS = (1e-4, 1e-3, 1e-2, 1e-1), (1e-3, 1e-2, 1e-1, 1.0), (1e-8, 1e-6, 1e-4)
SPACES = {
    "adam": {"lr": Points(LR), "eps": Points(EPS), "beta2": Points((0.9,))},
    "sgd_momentum": {"lr": Points(SGD_LR)},
}


class Engine:
    """Asks and tells in this process; the value of a cell is its learning rate."""

    def __init__(self, folder: Path, *settings: str) -> None:
        (folder / "s.yaml").write_text(STUDY)
        config = load_study(folder / "s.yaml", settings)
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/s.db")
        self.studies = [SharedStudy(storage, config, optimizer, space) for optimizer, space in SPACES.items()]
        self.dispatcher = Dispatcher(self.studies, Listener())

    def run(self, trials: int) -> list[tuple[str, float, float | None]]:
        """Run this many trials; return their cells."""
        found = []
        for _ in range(trials):
            assignment = self.dispatcher.ask()
            if assignment is None:
                break
            study, active = assignment
            self.dispatcher.report(assignment, 0, active.cell.lr)
            self.dispatcher.tell(assignment, Ending(kind="finished"))
            found.append((study.optimizer, active.cell.lr, active.cell.eps))
        return found


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_the_baselines_are_among_the_first(tmp_path: Path) -> None:
    """At any time, the same share of both has begun, give or take one trial."""
    order = [optimizer for optimizer, *_ in Engine(tmp_path).run(100)]
    assert len(order) == 16
    assert order[0] == "adam"
    for begun, baselines in enumerate(accumulate(optimizer == "sgd_momentum" for optimizer in order), 1):
        assert abs(baselines - begun * 4 / 16) < 1


def test_a_resumed_grid_keeps_to_its_order(tmp_path: Path) -> None:
    """However often the search is interrupted, every cell runs once, in the same order."""
    (tmp_path / "whole").mkdir()
    whole = Engine(tmp_path / "whole").run(100)
    parts = []
    for trials in (1, 2, 5, 3, 100):
        parts += Engine(tmp_path).run(trials)
    assert parts == whole
    assert len(set(whole)) == 16
    # The first quarter has every learning rate.
    assert {lr for optimizer, lr, _ in whole[:6] if optimizer == "adam"} == set(LR)


def test_the_best_of_earlier_runs(tmp_path: Path) -> None:
    """Of the searched optimizer; nothing before one is complete."""
    engine = Engine(tmp_path)
    assert engine.studies[0].best() is None
    engine.run(8)
    best = Engine(tmp_path).studies[0].best()
    assert best is not None
    assert (best.value, best.cell.optimizer, best.cell.lr) == (1e-1, "adam", 1e-1)


def test_how_many_are_planned_is_kept(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.run(8)
    assert [study.planned for study in Engine(tmp_path).studies] == [12, 4]
    assert [study.study.user_attrs["epsearch:planned"] for study in Engine(tmp_path).studies] == [12, 4]
