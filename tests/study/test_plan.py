"""What a study will run, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from epsearch.records.epsilon import EpsilonRange
from epsearch.study.box import Box
from epsearch.study.config import StudyConfig
from epsearch.study.plan import Cost, axis_kinds, plan, spaces
from epsearch.study.space import Interval, Points, cells
from tests.report import sample


def study(**sections: Any) -> StudyConfig:
    vision = {"name": "vision", "dataset": "digits", "model": "mlp"}
    return StudyConfig.model_validate({"name": "x", "workload": vision, **sections})


FIVE = EpsilonRange(lower=1e-6, upper=1e-2)
SEVEN = EpsilonRange(lower=1e-7, upper=1e-1)
ONE = EpsilonRange(lower=1e-3, upper=1e-3)
TPE = {"sampler": "tpe", "trials": 40}
OWN = {"train": "a:b"}
TWO_EPS = {"eps": [1e-8, 1e-3], "lr": 0.01, "beta2": [0.9, 0.99, 0.999], "baselines": ["sgd_momentum"]}


@pytest.mark.parametrize(
    ("config", "found", "eps_points", "cost", "wide", "baselines"),
    [
        # 4 lr × 5 eps (typical), 20 epochs each, 1 for the probe; 4 × 21 without one.
        pytest.param(study(), None, 5, (20, 401), (84, 1680), 0, id="defaults"),
        pytest.param(study(), SEVEN, 7, (28, 561), (84, 1680), 0, id="probed"),
        pytest.param(study(search={"eps": "endpoints"}), None, 2, (8, 161), (84, 1680), 0, id="endpoints"),
        pytest.param(study(search={"eps": "endpoints"}), ONE, 1, (4, 81), (84, 1680), 0, id="ends that agree"),
        # 3 seeds: each trial trains 3 × 10 epochs. 2 probe epochs.
        pytest.param(
            study(training={"epochs": 10, "seeds": [0, 1, 2]}, probe={"epochs": 2}),
            FIVE,
            5,
            (20, 602),
            (84, 2520),
            0,
            id="seeds",
        ),
        # 2 eps × 3 beta2, and 5 lr of the baseline (1e-3 … 10): 11 trials, no probe. Wide: 21 × 3 + 5.
        pytest.param(study(search=TWO_EPS), None, 2, (11, 220), (68, 1360), 5, id="list"),
        pytest.param(study(search=TWO_EPS, workload=OWN), None, 2, (11, None), (68, None), 5, id="own epochs"),
        # A sampler makes as many trials wherever it searches.
        pytest.param(study(engine=TPE, search={"eps": "continuous"}), FIVE, None, (40, 801), (40, 800), 0, id="tpe"),
        pytest.param(study(engine=TPE, search={"eps": "grid"}), SEVEN, 7, (40, 801), (40, 800), 0, id="tpe of points"),
        pytest.param(
            study(engine=TPE, search={"eps": "continuous", "baselines": ["sgd_momentum"], "sgd_lr": [0.1, 1]}),
            None,
            None,
            (42, 841),
            (42, 840),
            2,
            id="tpe and a baseline",
        ),
        # 4 lr × 3 eps × 4 beta2 (0.9 … 0.9999).
        pytest.param(
            study(search={"eps": {"low": 1e-8, "high": 1e-6}, "beta2": {"low": 0.9, "high": 0.9999}}),
            None,
            3,
            (48, 960),
            (336, 6720),
            0,
            id="bounds",
        ),
        # 3 lr × 5 eps; without a probe there is no ridge, so 4 powers of ten of lr.
        pytest.param(study(search={"lr": "auto"}), FIVE, 5, (15, 301), (84, 1680), 0, id="auto"),
        pytest.param(
            study(search={"lr": "auto", "beta2": [0.9, 0.99]}), None, 5, (30, 601), (168, 3360), 0, id="auto and beta2"
        ),
        pytest.param(
            study(engine=TPE, search={"eps": "continuous", "lr": "auto"}),
            None,
            None,
            (40, 801),
            (40, 800),
            0,
            id="auto",
        ),
        pytest.param(study(optimizer={"name": "adagrad"}), FIVE, 5, (20, 401), (84, 1680), 0, id="no beta2"),
    ],
)
def test_costs(
    config: StudyConfig,
    found: EpsilonRange | None,
    eps_points: int | None,
    cost: tuple[int, int | None],
    wide: tuple[int, int | None],
    baselines: int,
) -> None:
    planned = plan(config, found)
    assert planned.eps_points == eps_points
    assert planned.study == Cost(*cost)
    assert planned.wide == Cost(*wide)
    assert planned.baselines == baselines
    assert planned.tests_lr == (config.search.lr == "auto")
    assert planned.probed == (found is not None or not config.search.needs_probe)


def test_a_grid() -> None:
    config = study(search={"lr": {"low": 1e-3, "high": 1e-1}, "baselines": ["sgd_momentum"]})
    assert spaces(config, FIVE, 668) == {
        "adam": {
            "lr": Points((1e-3, 1e-2, 1e-1)),
            "eps": Points((1e-6, 1e-5, 1e-4, 1e-3, 1e-2)),
            "beta2": Points((0.999,)),
        },
        "sgd_momentum": {"lr": Points((1e-3, 1e-2, 1e-1, 1.0, 10.0))},
    }


def test_a_sampler() -> None:
    search = {"eps": "continuous", "beta2": {"low": 0.5, "high": 0.9995}, "lr": {"low": 3e-4, "high": 0.2}}
    assert spaces(study(engine=TPE, search=search), FIVE, None) == {
        "adam": {"lr": Interval(3e-4, 0.2), "eps": Interval(1e-6, 1e-2), "beta2": Interval(0.5, 0.9995)}
    }
    # Nothing continuous lies between ends that agree.
    assert spaces(study(engine=TPE, search=search), ONE, None)["adam"]["eps"] == Points((1e-3,))


def test_lr_around_the_ridge() -> None:
    """A grid has three lr of its own at each ε; samplers search the hull of the box."""
    box, auto = Box(sample.probe(), sample.lr_test()), {"lr": "auto", "beta2": 0.99}
    epsilons = FIVE.grid()
    space = spaces(study(search=auto), FIVE, None, box)["adam"]
    assert space["lr"] == box.points(epsilons)
    assert len(cells(space)) == 15
    continuous = study(engine=TPE, search={**auto, "eps": "continuous"})
    assert spaces(continuous, FIVE, None, box)["adam"]["lr"] == box.hull(epsilons)
    at_points = study(engine=TPE, search=auto)
    assert spaces(at_points, FIVE, None, box)["adam"]["lr"] == box.hull(epsilons)
    wide = Box(sample.probe(), sample.lr_test(None))
    assert spaces(study(search=auto), FIVE, None, wide)["adam"]["lr"] == Points((1e-4, 1e-3, 1e-2, 1e-1))
    assert spaces(at_points, FIVE, None, wide)["adam"]["lr"] == wide.hull(epsilons)


def test_what_the_study_gives_itself() -> None:
    search = {"eps": [1e-2, 1e-8], "lr": 0.3, "beta2": 0.95}
    assert spaces(study(search=search), None, None) == {
        "adam": {"lr": Points((0.3,)), "eps": Points((1e-8, 1e-2)), "beta2": Points((0.95,))}
    }


def test_an_optimizer_without_beta2() -> None:
    assert list(spaces(study(optimizer={"name": "adagrad"}), FIVE, None)["adagrad"]) == ["lr", "eps"]


def test_endpoints() -> None:
    eps = spaces(study(search={"eps": "endpoints"}), FIVE, 100)["adam"]["eps"]
    assert eps == Points((1e-6, 1e-2))


@pytest.mark.parametrize("found", [None, FIVE])
def test_the_kind_of_each_axis(found: EpsilonRange | None) -> None:
    lr = {"low": 1e-4, "high": 1e-1}
    assert axis_kinds(study(), found) == {"lr": "points", "eps": "points", "beta2": "points"}
    drawn = study(engine=TPE, search={"eps": "continuous", "lr": lr, "beta2": {"low": 0.9, "high": 0.999}})
    assert axis_kinds(drawn, found) == {"lr": "interval", "eps": "interval", "beta2": "interval"}
    assert axis_kinds(study(search={"lr": "auto"}), found) == {"lr": "points", "eps": "points", "beta2": "points"}
    assert axis_kinds(study(engine=TPE, search={"lr": "auto"}), found)["lr"] == "interval"
    guided = study(engine={"sampler": "guided", "trials": 9}, search={"lr": "auto"})
    assert axis_kinds(guided, found)["lr"] == "points"
    mixed = study(engine=TPE, search={"eps": "grid", "lr": lr, "beta2": 0.99})
    assert axis_kinds(mixed, found) == {"lr": "interval", "eps": "points", "beta2": "points"}
