"""epsearch's TPE suggests the same values as Optuna's, and reads each finished trial once."""

from __future__ import annotations

import math
import random
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from epsearch.search import cached_tpe, tpe
from epsearch.search.cached_tpe import CachedTPESampler

POINTS: dict[str, BaseDistribution] = {
    "lr": CategoricalDistribution([1e-4, 1e-3, 1e-2]),
    "eps": CategoricalDistribution([1e-8, 1e-6, 1e-4]),
    "beta2": FloatDistribution(0.999, 0.999),
}
INTERVALS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "eps": FloatDistribution(1e-8, 1e-2, log=True),
    "one_minus_beta2": FloatDistribution(1e-3, 1e-1, log=True),
}
MIXED = {"lr": INTERVALS["lr"], "eps": POINTS["eps"]}


def suggestions(sampler: TPESampler, space: dict[str, BaseDistribution], direction: str, **keywords: Any) -> list[Any]:
    """A sampler's suggestions for 120 trials, up to four at a time, some of which fail, are pruned, or tie."""
    chance = random.Random(4)
    study = optuna.create_study(sampler=sampler, direction=direction, **keywords)
    running: list[optuna.Trial] = []
    seen = []
    for _ in range(120):
        trial = study.ask(space)
        seen.append(trial.params)
        running.append(trial)
        while len(running) > chance.randrange(4):
            trial = running.pop(chance.randrange(len(running)))
            value = round(math.log10(trial.params["lr"]) ** 2 + math.log10(trial.params["eps"]), 1)
            for step in range(chance.randrange(3)):
                trial.report(math.nan if chance.random() < 0.1 else value + step, step)
            ending = chance.random()
            if ending < 0.1:
                study.tell(trial, state=TrialState.FAIL)
            elif ending < 0.3:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, value)
    return seen


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("space", [POINTS, INTERVALS, MIXED], ids=["points", "intervals", "mixed"])
@pytest.mark.parametrize("liar", [True, False])
def test_suggests_what_optuna_suggests(
    space: dict[str, BaseDistribution], direction: str, liar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_tpe, "BLOCK", 16)  # several blocks, with these few trials
    own, optunas = (sampler(seed=3, constant_liar=liar) for sampler in (CachedTPESampler, TPESampler))
    assert suggestions(own, space, direction) == suggestions(optunas, space, direction)


def test_with_hyperband() -> None:
    """Each of Hyperband's brackets has its own history."""
    own, optunas = (
        suggestions(sampler(seed=3), INTERVALS, "minimize", pruner=optuna.pruners.HyperbandPruner(max_resource=9))
        for sampler in (CachedTPESampler, TPESampler)
    )
    assert own == optunas


def test_a_finished_trial_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next suggestion looks at the parameters of the trials that are running or have just finished."""
    study = optuna.create_study(sampler=CachedTPESampler(seed=0))
    for _ in range(200):
        study.tell(study.ask(INTERVALS), 1.0)
    study.ask(INTERVALS)
    looked: list[int] = []
    parameters = FrozenTrial.params.fget  # type: ignore[attr-defined]

    def watched(trial: FrozenTrial) -> Any:
        looked.append(trial.number)
        return parameters(trial)

    monkeypatch.setattr(FrozenTrial, "params", property(watched, FrozenTrial.params.fset))  # type: ignore[attr-defined]
    study.ask(INTERVALS)
    assert looked
    assert min(looked) >= 199


def test_another_release_of_optuna_uses_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert optuna.__version__.startswith(tpe.CHECKED), "check cached_tpe.py against this release: run this file"
    assert type(tpe.sampler(seed=0)) is CachedTPESampler
    monkeypatch.setattr(optuna, "__version__", "6.0.0")
    assert type(tpe.sampler(seed=0)) is TPESampler
