"""The guided sampler in Optuna studies of every kind, and against TPE on a synthetic ridge."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState, create_trial

from epsearch import GuidedSampler
from epsearch.records.lr_test import LrTest
from epsearch.records.ridge import Ridge
from epsearch.search import guided
from tests.report import sample

PROBE = sample.probe()
GRID = PROBE.range.grid()
SUGGESTION = 2e-3
RIDGE = Ridge(PROBE, SUGGESTION, 1e-6)
SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "eps": CategoricalDistribution(GRID),
}
HALF_DECADES = [(float(f"{10 ** (k / 2):.4g}"), eps) for k in range(-10, 1) for eps in GRID]
BETA2 = FloatDistribution(1e-3, 1e-1, log=True)

Space = dict[str, BaseDistribution]


@pytest.fixture(autouse=True)
def silent_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def lr_test(suggestion: float | None = SUGGESTION, low: float | None = None, high: float | None = None) -> LrTest:
    bounds = {"low": low or (suggestion or 1e-4) / 10, "high": high or (suggestion or 0.1) * 10}
    return LrTest(
        optimizer="adam", eps=1e-6, lrs=[1e-3], losses=[1.0], suggestion=suggestion, reason="as set here", **bounds
    )


def sampler(space: Space | None = SPACE, **arguments: Any) -> GuidedSampler:
    return GuidedSampler(PROBE, **{"test": lr_test(), "seed": 0, "space": space, **arguments})


def study_of(sampler: BaseSampler, direction: str = "maximize", **arguments: Any) -> optuna.Study:
    return optuna.create_study(sampler=sampler, direction=direction, **arguments)


def distance(parameters: dict[str, Any]) -> float:
    """Decades of lr from the expected ridge."""
    return math.log10(parameters["lr"] / RIDGE.lr(parameters["eps"]))


def score(parameters: dict[str, Any]) -> float:
    """Best a little above the ridge, at a middle ε."""
    return -((distance(parameters) - 0.4) ** 2) - (PROBE.damping(parameters.get("eps", 1e-4)) - 0.5) ** 2


def run(study: optuna.Study, trials: int, space: Space = SPACE, value: Callable[..., float] = score) -> list[Any]:
    """Ask for trials one after another; return their parameters."""
    for _ in range(trials):
        trial = study.ask(space)
        study.tell(trial, value(trial.params))
    return [trial.params for trial in study.get_trials(deepcopy=False)[-trials:]]


def add(study: optuna.Study, lr: float, eps: float, value: float | None = None, **fields: Any) -> None:
    study.add_trial(create_trial(params={"lr": lr, "eps": eps}, distributions=SPACE, value=value, **fields))


def cell(parameters: dict[str, Any]) -> tuple[float, float]:
    return parameters["lr"], parameters["eps"]


# What is suggested.


def test_the_first_two_are_on_the_ridge() -> None:
    """At the smallest ε, where the test was made, then at the largest."""
    started = run(study_of(sampler()), 2)
    assert [each["eps"] for each in started] == [1e-6, 1e-2]
    assert all(abs(distance(each)) <= 0.25 + 1e-3 for each in started)


def test_candidates_are_half_decades_in_the_box_until_they_are_used_up() -> None:
    study = study_of(sampler())
    cells = {each for each in HALF_DECADES if abs(distance({"lr": each[0], "eps": each[1]})) <= 1}
    # Best on the ridge: nothing widens the box.
    seen = run(study, len(cells), value=lambda parameters: -abs(distance(parameters)))
    assert len(cells) == 20
    assert {cell(each) for each in seen} == cells
    # Then quarter decades, again without a repetition.
    finer = run(study, 15, value=lambda parameters: -abs(distance(parameters)))
    assert len({cell(each) for each in [*seen, *finer]}) == 35
    assert all(
        math.log10(each["lr"]) * 4 == pytest.approx(round(math.log10(each["lr"]) * 4), abs=1e-3) for each in finer
    )


def test_a_continuous_eps_has_powers_of_ten_then_half_decades() -> None:
    space = {"lr": CategoricalDistribution([1e-3]), "eps": FloatDistribution(1e-6, 1e-2, log=True)}
    study = study_of(sampler(space, test=None))
    assert sorted(each["eps"] for each in run(study, 5, space)) == GRID
    finer = [each["eps"] for each in run(study, 4, space)]
    assert sorted(finer) == [3.162e-6, 3.162e-5, 3.162e-4, 3.162e-3]


def test_where_no_value_is_left_trials_are_repeated() -> None:
    space: Space = {"lr": CategoricalDistribution([1e-3, 1e-2]), "eps": CategoricalDistribution([1e-4, 1e-2])}
    seen = [cell(each) for each in run(study_of(sampler(space)), 6, space)]
    assert len(set(seen[:4])) == 4
    assert set(seen[4:]) <= set(seen[:4])


@pytest.mark.parametrize(("low", "high"), [(2e-3, 5e-2), (2e-3, 2.5e-3), (0.5, 0.9), (1e-7, 1e-6), (1e-8, 1e3)])
def test_the_distribution_bounds_lr(low: float, high: float) -> None:
    """Also where the box is outside it."""
    space = {**SPACE, "lr": FloatDistribution(low, high, log=True)}
    seen = run(study_of(sampler(space)), 25, space)
    assert all(low <= each["lr"] <= high for each in seen)
    assert len({cell(each) for each in seen}) == 25


def test_the_prior_fades() -> None:
    """A dozen equal results: at first near the ridge, later anywhere in the box."""
    far = [abs(distance(each)) for each in run(study_of(sampler()), 20, value=lambda _: 0.0)]
    assert max(far[:5]) < 0.5
    assert max(far[12:]) > 0.5


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_both_directions(direction: str) -> None:
    sign = 1 if direction == "maximize" else -1
    seen = run(study_of(sampler(), direction), 8, value=lambda parameters: sign * score(parameters))
    assert seen == run(study_of(sampler()), 8)
    assert max(map(score, seen)) > -0.02


# The box.


def test_the_box_widens_where_the_best_is_at_its_edge() -> None:
    """The best lr is 2.3 decades above the suggestion."""
    widens = sampler()
    study = study_of(widens)
    boxes = []
    for _ in range(25):
        run(study, 1, value=lambda parameters: -((distance(parameters) - 2.3) ** 2))
        boxes.append(widens.box)
    assert boxes[0] == pytest.approx((-1, 1))
    assert boxes[-1] == pytest.approx((-1, 3))
    assert distance(study.best_params) == pytest.approx(2.3, abs=0.25)


def test_the_box_widens_below_too() -> None:
    widens = sampler()
    study = study_of(widens)
    run(study, 20, value=lambda parameters: -distance(parameters))
    assert widens.box.low < -2
    assert widens.box.high == pytest.approx(1)
    assert min(map(distance, (trial.params for trial in study.trials))) < -2


def test_diverged_trials_widen_nothing() -> None:
    widens = sampler()
    study = study_of(widens)
    for _ in range(30):
        study.tell(study.ask(SPACE), state=TrialState.FAIL)
    assert widens.box == pytest.approx((-1, 1))


def test_without_a_suggestion_the_box_is_that_of_the_test() -> None:
    """Its lower bound does not rise with ε; there is no prior."""
    space = {**SPACE, "lr": FloatDistribution(1e-8, 1e3, log=True)}
    searches = sampler(space, test=lr_test(None, 1e-5, 1.0))
    seen = run(study_of(searches), 90, space, value=lambda parameters: -abs(math.log10(parameters["lr"] / 1e-3)))
    shift = 10 ** (PROBE.lr_shift(1e-2) - PROBE.lr_shift(1e-6))
    lrs = [each["lr"] for each in seen if each["eps"] == 1e-2]
    assert min(lrs) == 1e-5
    assert 1 < max(lrs) <= shift
    assert searches.box.high - searches.box.low == pytest.approx(5)


def test_without_a_test_the_distribution_is_the_box() -> None:
    alone = sampler(test=None)
    study = study_of(alone)
    assert cell(run(study, 1)[0]) == (3.162e-3, 1e-6), "the middle of lr at the smallest eps"
    seen = run(study, 54)
    assert alone.box == (-math.inf, math.inf)
    assert len({cell(each) for each in seen}) == 54
    assert {each["lr"] for each in seen} == {lr for lr, _ in HALF_DECADES}


# What a trial's state means.


def test_parallel_trials_spread() -> None:
    study = study_of(sampler())
    at_once = [study.ask(SPACE) for _ in range(8)]
    assert len({cell(trial.params) for trial in at_once}) == 8
    for trial in at_once:
        study.tell(trial, score(trial.params))
    later = [study.ask(SPACE).params for _ in range(4)]
    assert len({cell(each) for each in later}) == 4
    alone = study_of(sampler())
    for trial in at_once:
        add(alone, *cell(trial.params), score(trial.params))
    first = run(alone, 1)[0]
    assert first == later[0], "the first of them is where a single worker would go on"


def history(**fields: Any) -> optuna.Study:
    """Three equal trials on the ridge, and one with the largest lr in the box whose ending is `fields`."""
    study = study_of(sampler())
    for eps in (1e-6, 1e-4, 1e-2):
        add(
            study,
            min((1e-3, 3.162e-3, 1e-2, 1e-1, 1.0), key=lambda lr, e=eps: abs(distance({"lr": lr, "eps": e}))),
            eps,
            0.0,
        )
    add(study, 3.162e-2, 1e-4, **fields)
    return study


NOT_A_RESULT = {"state": TrialState.FAIL, "user_attrs": {"fail_reason": "died"}}


def expected(study: optuna.Study) -> float:
    """δ of the next trial."""
    return distance(study.ask(SPACE).params)


def test_diverged_trials_are_the_worst() -> None:
    """In epsearch's studies, and where NaN was returned in anybody's: the search moves to lower lr."""
    worst = history(value=-1.0)
    found = expected(worst)
    assert found < 0
    assert found == expected(history(state=TrialState.FAIL, user_attrs={"fail_reason": "diverged"}))
    assert found == expected(history(state=TrialState.FAIL))
    assert found == expected(history(value=-math.inf))


def test_other_failures_say_nothing_but_are_not_repeated() -> None:
    study = history(**NOT_A_RESULT)
    without = study_of(sampler())
    for trial in study.trials[:3]:
        without.add_trial(trial)
    assert study.ask(SPACE).params == without.ask(SPACE).params
    assert (3.162e-2, 1e-4) not in {cell(each) for each in run(study, 40)}


def test_pruned_trials_count_with_their_best_value() -> None:
    good, bad = ({0: -2.0, 1: value, 2: -3.0, 3: math.nan} for value in (1.0, -1.0))
    assert expected(history(state=TrialState.PRUNED, intermediate_values=good)) > 0
    assert expected(history(state=TrialState.PRUNED, intermediate_values=bad)) < 0


def test_a_foreign_study_with_nan_and_exceptions() -> None:
    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1, log=True)
        parameters = {"lr": lr, "eps": PROBE.range.suggest(trial)}
        if distance(parameters) > 0.8:
            raise FloatingPointError
        return math.nan if distance(parameters) > 0.5 else score(parameters)

    study = study_of(sampler(None))
    study.optimize(objective, n_trials=20, catch=FloatingPointError)
    assert len({cell(trial.params) for trial in study.trials}) == 20
    defined = [each for each in HALF_DECADES if distance({"lr": each[0], "eps": each[1]}) <= 0.5]
    assert cell(study.best_params) == max(defined, key=lambda each: score({"lr": each[0], "eps": each[1]}))


# Spaces.


def test_no_parameter() -> None:
    study = study_of(sampler({}))
    for _ in range(3):
        study.tell(study.ask(), 0.0)
    assert [trial.params for trial in study.trials] == [{}, {}, {}]


@pytest.mark.parametrize("given", [True, False], ids=["space", "inferred"])
@pytest.mark.parametrize("test", [lr_test(), None], ids=["test", "no test"])
@pytest.mark.parametrize("names", ["lr", "eps", "lr eps", "lr eps beta2", "beta2"])
def test_any_subset_of_the_axes(names: str, test: LrTest | None, given: bool) -> None:
    space = {name: axis for name, axis in {**SPACE, "beta2": BETA2}.items() if name in names.split()}
    study = study_of(sampler(space if given else None, test=test))
    seen = run(study, 12, space, value=lambda parameters: -abs(math.log10(parameters.get("lr", 1e-3) / 4e-3)))
    assert all(each.keys() == space.keys() for each in seen)
    assert len({tuple(each.values()) for each in seen}) == (5 if names == "eps" else 12)
    if "lr" in space:
        assert min(abs(math.log10(each["lr"] / 4e-3)) for each in seen) < 0.15


def test_other_axes_are_learned() -> None:
    space = {**SPACE, "beta2": CategoricalDistribution([0.9, 0.99, 0.999]), "decay": FloatDistribution(0, 0.1)}

    def value(parameters: dict[str, Any]) -> float:
        return score(parameters) + (parameters["beta2"] == 0.999) - 10 * parameters["decay"]

    seen = run(study_of(sampler(space)), 30, space, value)
    best = max(seen, key=value)
    assert (best["beta2"], best["decay"]) == (0.999, 0)
    assert len({tuple(each.values()) for each in seen}) == 30


def test_categories_are_left_to_tpe() -> None:
    """A cell with another activation is another cell."""
    space = {
        **SPACE,
        "activation": CategoricalDistribution(["relu", "tanh", "gelu"]),
        "bias": CategoricalDistribution([True, False]),
    }
    study = study_of(sampler(space))

    def value(parameters: dict[str, Any]) -> float:
        return score(parameters) + 5 * (parameters["activation"] == "tanh")

    seen = run(study, 40, space, value)
    assert {each["activation"] for each in seen[:10]} > {"tanh"}
    assert sum(each["activation"] == "tanh" for each in seen[20:]) >= 12
    assert seen == run(study_of(sampler(space)), 40, space, value)


def test_axes_without_a_logarithm_are_left_to_tpe() -> None:
    space = {**SPACE, "eps": CategoricalDistribution([0.0, 1e-8, 1e-4]), "lr": FloatDistribution(0, 0.1)}
    seen = run(study_of(sampler(space)), 5, space, value=lambda _: 0.0)
    assert all(0 <= each["lr"] <= 0.1 for each in seen)


def test_names_of_the_parameters() -> None:
    space = {"optimizer/learning_rate": SPACE["lr"], "optimizer/epsilon": SPACE["eps"]}
    named = sampler(space, lr="optimizer/learning_rate", eps="optimizer/epsilon")
    seen = run(study_of(named), 4, space, value=lambda parameters: parameters["optimizer/epsilon"])
    assert [tuple(each.values()) for each in seen[:2]] == [cell(each) for each in run(study_of(sampler()), 2)]


def test_the_first_trials_are_guided_without_a_space() -> None:
    """Also when several begin before one has finished, in either order of lr and ε."""
    by_name = dict(reversed(SPACE.items()))
    for space in (SPACE, by_name):
        study = study_of(sampler(None))
        started = [study.ask(space).params for _ in range(5)]
        assert [each["eps"] for each in started] == [1e-6, 1e-2, 1e-4, 1e-5, 1e-3]
        assert all(abs(distance(each)) <= 0.25 + 1e-3 for each in started)


def test_a_trial_that_failed_before_it_had_eps_does_not_hide_it() -> None:
    study = study_of(sampler(None))
    run(study, 4)
    unfinished = study.ask()
    unfinished.suggest_float("lr", 1e-5, 1, log=True)
    study.tell(unfinished, state=TrialState.FAIL)
    assert sampler(None).infer_relative_search_space(study, study.trials[-1]).keys() == SPACE.keys()
    assert len({cell(each) for each in run(study, 16)}) == 16


# Seeds and history.


def test_a_resumed_study_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """With a new sampler and storage for each trial."""
    space = {**SPACE, "beta2": BETA2, "activation": CategoricalDistribution(["relu", "tanh"])}
    value = lambda parameters: score(parameters) - (parameters["activation"] == "relu")  # noqa: E731
    storage = f"sqlite:///{tmp_path}/study.db"
    seen = []
    for _ in range(14):
        study = study_of(sampler(space), storage=storage, study_name="resumed", load_if_exists=True)
        seen += run(study, 1, space, value)
    assert seen == run(study_of(sampler(space)), 14, space, value)


def test_seeds() -> None:
    space = {**SPACE, "activation": CategoricalDistribution(["relu", "tanh", "gelu", "elu"])}
    first, same, other = (run(study_of(sampler(space, seed=seed)), 10, space) for seed in (1, 1, 2))
    assert first == same
    assert first != other
    assert run(study_of(sampler(space, seed=None)), 10, space) != run(study_of(sampler(space, seed=None)), 10, space)


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler())
    with pytest.raises(ValueError, match="multi-objective optimization, GuidedSampler cannot be used"):
        study.ask(SPACE)


def test_it_can_be_pickled() -> None:
    """Ray's OptunaSearch saves its sampler."""
    study = study_of(sampler())
    run(study, 5)
    again = pickle.loads(pickle.dumps(study))
    assert run(again, 3) == run(study, 3)


def test_a_long_history_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model learns from 100 of the best trials, and the 100 newest."""
    study = study_of(sampler(test=None))
    rng = np.random.default_rng(0)
    for _ in range(400):
        lr, eps = 10 ** rng.uniform(-5, 0), float(rng.choice(GRID))
        add(study, lr, eps, score({"lr": lr, "eps": eps}))
    sizes: list[int] = []

    def watching(values: list[float]) -> Any:
        sizes.append(len(values))
        assert max(values) == study.best_value
        return normal_scores(values)

    normal_scores = guided.normal_scores
    monkeypatch.setattr(guided, "normal_scores", watching)
    seen = run(study, 2)
    assert sizes == [200, 200]
    assert abs(distance(seen[0]) - 0.4) < 0.25


def test_hyperband_shows_it_every_bracket() -> None:
    study = study_of(sampler(), pruner=optuna.pruners.HyperbandPruner(max_resource=9))

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1, log=True)
        value = score({"lr": lr, "eps": PROBE.range.suggest(trial)})
        for step in range(9):
            trial.report(value - 1 / (1 + step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=20)
    assert TrialState.PRUNED in {trial.state for trial in study.trials}
    assert len({cell(trial.params) for trial in study.trials}) == 20


# Against TPE.


def trials_to_goal(sampler: BaseSampler, eps: BaseDistribution, seed: int) -> float:
    """Trials until δ is within 0.3 of the best and u within 0.25, where the test was off by up to a decade."""
    rng = np.random.default_rng(seed)
    off, damped = rng.uniform(-1, 1), rng.uniform(0, 1)
    study = study_of(sampler)
    for number in range(1, 61):
        trial = study.ask({"lr": SPACE["lr"], "eps": eps})
        far, apart = distance(trial.params) - off, PROBE.damping(trial.params["eps"]) - damped
        if abs(far) <= 0.3 and abs(apart) <= 0.25:
            return number
        diverges = far > 0.9
        study.tell(
            trial,
            None if diverges else -(far**2) - apart**2 + rng.normal(0, 0.01),
            state=TrialState.FAIL if diverges else None,
        )
    return math.inf


def test_it_arrives_much_sooner_than_tpe_over_20_decades() -> None:
    wide = FloatDistribution(1e-10, 1e10, log=True)
    needed = [trials_to_goal(sampler(seed=seed), SPACE["eps"], seed) for seed in range(15)]
    unguided = [trials_to_goal(TPESampler(seed=seed), wide, seed) for seed in range(15)]
    assert max(needed) <= 20
    assert median(needed) <= 0.4 * median(unguided)


# In Ray Tune.


@pytest.mark.thorough
@pytest.mark.parametrize("given", ["distributions", "domains"])
def test_in_rays_optuna_search(given: str) -> None:
    """The searcher alone, as Tune calls it, with several trials at a time."""
    pytest.importorskip("ray")
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    domains = {"lr": tune.loguniform(1e-5, 1), "eps": PROBE.range.tune_domain()}
    guided_by = sampler(SPACE if given == "distributions" else None)
    search = OptunaSearch(SPACE if given == "distributions" else domains, metric="score", mode="max", sampler=guided_by)
    seen = []
    for batch in range(5):
        asked = {f"{batch}-{number}": search.suggest(f"{batch}-{number}") for number in range(4)}
        for name, config in asked.items():
            assert config is not None
            seen.append(config)
            result = {"score": score(config), "training_iteration": 1}
            search.on_trial_result(name, result)
            search.on_trial_complete(name, result)
    assert [each["eps"] for each in seen[:2]] == [1e-6, 1e-2]
    assert len({cell(each) for each in seen}) == 20
    assert max(map(score, seen)) > -0.02
