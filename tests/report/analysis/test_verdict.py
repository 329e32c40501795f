"""Studies made so that the answer is known."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.analysis.advice import command
from epsearch.report.analysis.sgd_rate import sgd_rate
from epsearch.report.analysis.values import best_by
from epsearch.report.analysis.verdict import Verdict, verdict
from tests.report import sample

LRS = (1e-4, 1e-3, 1e-2, 1e-1)
MANY = tuple(10 ** (half / 2) for half in range(-12, 5))
EPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)

Value = Callable[[float, float, float], float]


def study(value: Value, *, lrs: Any = LRS, eps: Any = EPS, beta2: Any = (0.999,), **fields: Any) -> list[Trial]:
    """A grid whose cells have `value(log10 lr, log10 eps, beta2)`; NaN stands for a cell that diverged."""
    trials = []
    for number, (lr, e, b) in enumerate(itertools.product(lrs, eps, beta2)):
        found = value(math.log10(lr), math.log10(e), b)
        more = {"state": "failed", "fail_reason": "diverged"} if math.isnan(found) else {}
        measured = None if math.isnan(found) else found
        trials.append(sample.trial(number, measured, **{"lr": lr, "eps": e, "beta2": b, **fields, **more}))
    return trials


def judge(trials: list[Trial], **fields: Any) -> Verdict:
    return verdict(outcome(trials, **fields))


def outcome(trials: list[Trial], **fields: Any) -> Outcome:
    return sample.outcome(Path("runs/test"), **{"trials": trials, "history": None, **fields})


def immutable(lr: float, eps: float, _: float) -> float:
    """Better with larger ε, along the ridge lr/eps = 0.1."""
    return 0.9 + 0.01 * eps - 0.02 * abs(lr - max(eps, -3) + 0)


def adaptable(lr: float, eps: float, _: float) -> float:
    """Better with smaller ε, at lr 1e-3."""
    return 0.9 - 0.01 * eps - 0.02 * abs(lr + 3)


def partial(lr: float, eps: float, _: float) -> float:
    return 0.9 - 0.02 * abs(eps + 4) - 0.02 * abs(lr + 2)


def indifferent(lr: float, _: float, __: float) -> float:
    return 0.9 - 0.02 * abs(lr + 2)


KNOWN = {"immutable": immutable, "adaptable": adaptable, "partial": partial, "indifferent": indifferent}


@pytest.mark.parametrize("kind", KNOWN)
def test_each_kind(kind: str) -> None:
    found = judge(study(KNOWN[kind]))
    assert found.kind == kind
    assert found.sure.lower().replace("fully ", "").startswith(kind)
    assert found.tolerance is not None
    assert found.tolerance < 0.005


@pytest.mark.parametrize("kind", KNOWN)
def test_each_kind_where_lower_is_better(kind: str) -> None:
    """Perplexity: the same surfaces upside down."""
    found = judge(study(lambda *cell: 100 - 50 * KNOWN[kind](*cell)), goal="minimize", metric="perplexity")
    assert found.kind == kind


@pytest.mark.parametrize("kind", KNOWN)
def test_a_sampler_s_points_are_taken_to_powers_of_ten(kind: str) -> None:
    """Two hundred points off the grid, drawn evenly."""
    lrs = [10 ** (-4 + 3 * i / 19) for i in range(20)]
    eps = [10 ** (-6.2 + 4.4 * i / 19) for i in range(20)]
    assert judge(study(lambda lr, e, b: KNOWN[kind](lr, round(e), b), lrs=lrs, eps=eps)).kind == kind


def test_the_order_of_trials_does_not_matter() -> None:
    trials = study(partial)
    assert judge(trials[::-1]).kind == judge(trials).kind == "partial"


def test_reasons_in_numbers() -> None:
    found = judge(study(adaptable))
    assert found.headline.startswith("The best ε seen is 1e-6. From 1e-5 on it is worse: by 1 ± ")
    assert found.reasons[0].startswith("At the smallest ε, 1e-6, the best accuracy is 0.9599 (0.9583 to ")
    assert found.reasons[0].endswith("), the best of all.")
    assert found.reasons[1].startswith("At the largest ε, 1e-2, the best accuracy is 0.9200 (0.9191 to ")
    assert found.reasons[1].endswith("points behind the best.")
    assert "of ẑ was above the best ε" in found.reasons[4]


def test_negligible_differences() -> None:
    """One ε stands out by a tenth of a point, or by three."""
    assert judge(study(lambda lr, e, b: indifferent(lr, e, b) + (0.001 if e == -4 else 0))).kind == "indifferent"
    assert judge(study(lambda lr, e, b: indifferent(lr, e, b) + (0.03 if e == -4 else 0))).kind == "partial"


def test_near_the_upper_end_is_immutable_too() -> None:
    """The best is at 1e-3, and 1e-2 within the tolerance of it."""
    found = judge(study(lambda lr, e, b: 0.9 + 0.01 * min(e, -3) - 0.001 * (e == -2) - 0.02 * abs(lr + 2)))
    assert found.kind == "immutable"


def seeded(trials: list[Trial], sigma: float, seeds: int = 3) -> list[Trial]:
    """The trials with as many seeds, which differ by `sigma`."""
    rng = np.random.default_rng(0)
    found = []
    for trial in trials:
        values = [float((trial.value or 0.0) + sigma * rng.normal()) for _ in range(seeds)]
        spread = float(np.std(values, ddof=1)) if seeds > 1 else None
        more = {"value": float(np.mean(values)), "spread": spread, "seed_values": values}
        found.append(trial.model_copy(update=more))
    return found


def test_noise_larger_than_the_differences() -> None:
    noisy = judge(seeded(study(partial, lrs=MANY), 0.1))
    assert noisy.kind == "undecided"
    assert noisy.headline.startswith("Cannot tell which ε is best")
    assert noisy.action.startswith("Nothing is known to be better: keep the default ε, 1e-8")
    assert noisy.advice[0].settings == ("training.seeds=[0,1,2,3,4,5,6,7,8,9]",)
    assert "3 seeds each" in noisy.reasons[2]
    assert judge(seeded(study(partial), 0.001)).kind == "partial"


def test_noise_asks_for_seeds_until_they_hardly_help() -> None:
    def settings(seeds: int) -> tuple[str, ...] | None:
        return judge(seeded(study(partial, lrs=MANY), 0.05, seeds)).advice[0].settings

    assert settings(1) == ("training.seeds=[0,1,2]",)
    assert settings(3) == ("training.seeds=[0,1,2,3,4,5,6,7,8,9]",)
    assert settings(10) is None


def test_seeds_of_bad_trials_do_not_count_as_noise() -> None:
    trials = seeded(study(partial), 0.001)
    worst = sorted(trials, key=lambda trial: trial.value or 0)[:8]
    wild = [trial.model_copy(update={"spread": 0.3}) if trial in worst else trial for trial in trials]
    assert judge(wild).kind == "partial"


def test_a_half_that_diverged() -> None:
    """No value at the large ε: they are no good, and the best that is left decides."""
    found = judge(study(lambda lr, e, b: math.nan if e > -4 else adaptable(lr, e, b)))
    assert found.kind == "adaptable"
    assert found.rows[-1].eps == 1e-4


def test_pruned_trials_are_no_good_either() -> None:
    trials = [
        trial.model_copy(update={"state": "pruned"}) if trial.eps == 1e-2 else trial for trial in study(indifferent)
    ]
    assert judge(trials).kind == "adaptable"


def test_everything_diverged() -> None:
    found = judge(study(lambda *_: math.nan))
    assert (found.kind, found.reasons) == ("undecided", ("No trial is complete.",))


def test_nothing_ran() -> None:
    assert judge([]).kind == "undecided"


def test_a_study_that_is_not_done() -> None:
    trials = study(immutable)
    found = judge([trial if trial.number < 12 else sample.trial(trial.number, **trial.cell) for trial in trials])
    assert found.kind == "undecided"
    assert found.reasons == ("Only 12 of 20 trials have finished: resume the study.",)
    assert found.advice[0].settings == ()


@pytest.mark.parametrize(("name", "axes"), [("ε", {"eps": (1e-8,)}), ("α", {"lrs": (1e-3,)})])
def test_a_study_that_varies_too_little(name: str, axes: dict[str, Any]) -> None:
    found = judge(study(partial, **axes))
    assert found.kind == "undecided"
    assert found.reasons[0].startswith(f"{name} was not varied")
    assert len(found.advice) == 1


def test_a_sampler_s_end_with_too_few_learning_rates() -> None:
    """Two trials near the largest ε, and many elsewhere: however bad they are, another lr may be good there."""
    trials = [trial for trial in study(adaptable) if trial.eps != 1e-2 or trial.lr in (1e-4, 1e-3)]
    found = judge(trials, sampler="tpe")
    assert found.kind == "undecided"
    assert found.reasons[0].startswith("Only 2 trials near the largest ε; at least 3 learning rates are needed.")
    assert found.advice[0].settings is not None
    assert "search.eps=endpoints" in found.advice[0].settings
    # Of a grid they are there to be run: those trials failed.
    assert judge(trials).advice[0].settings == ()
    third = sample.trial(98, 0.8, lr=1e-2, eps=3e-3)
    assert judge([*trials, third], sampler="tpe").kind == "adaptable"
    # Of two lr, the best is always at an edge.
    assert judge(study(adaptable, lrs=(1e-3, 1e-2))).kind == "undecided"


def test_immutable_names_the_rate_of_sgd() -> None:
    found = judge(study(immutable))
    assert "Try SGD with momentum at a learning rate of 1e0" in found.advice[0].text
    assert found.advice[0].settings == ("search.baselines=[sgd_momentum]", "search.sgd_lr=[0.1, 0.3162, 1, 3.162, 10]")
    other = sample.trial(99, 0.5, optimizer="sgd", lr=1.0, eps=None)
    kept = judge([*study(immutable), other]).advice[0].settings
    assert kept is not None
    assert kept[0] == "search.baselines=[sgd,sgd_momentum]"


def sgd(best: float, step: float = 0.5) -> list[Trial]:
    """SGD at five lr around 1."""
    rates = [10 ** (step * index) for index in range(-2, 3)]
    return [
        sample.trial(90 + index, best - 0.02 * abs(index - 2), optimizer="sgd_momentum", lr=lr, eps=None)
        for index, lr in enumerate(rates)
    ]


@pytest.mark.parametrize(("value", "word"), [(0.88, "as good"), (0.8, "points behind"), (0.95, "points better")])
def test_immutable_beside_sgd_that_was_tried(value: float, word: str) -> None:
    found = judge([*study(immutable), *sgd(value)])
    assert found.advice[0].text.startswith("SGD with momentum reached ")
    assert found.advice[0].text.endswith(f"{word}.")
    nothing = "An adaptive optimizer gains nothing here: SGD with momentum at lr 1e0 is "
    assert found.action.startswith("Use ε 1e-2" if value == 0.8 else nothing)


def test_a_baseline_with_too_few_lr_proves_nothing() -> None:
    """Whole decades, or the best one at an edge."""
    for trials in (sgd(0.7, step=1.0), sgd(0.7)[2:]):
        found = judge([*study(immutable), *trials])
        assert found.advice[0].text.startswith("SGD with momentum was tried at too few learning rates around 1e0")
        assert found.action.startswith("Use ε 1e-2 with lr 1e-2")


def test_the_constant_rate_of_table_5() -> None:
    def rate(optimizer: str) -> float | None:
        return sgd_rate(optimizer, 1e-3, 1e-4, 0.99)

    assert rate("adam") == rate("rmsprop") == pytest.approx(10)
    assert rate("eadam") == rate("adamomentum") == pytest.approx(1e-3 / 0.1)
    assert rate("adabelief") == pytest.approx(1e-3 / (0.1 + 1e-4))
    assert rate("lamb") is None


def test_beta2() -> None:
    """It matters where v does, and not where ε drowns it."""
    betas = (0.9, 0.99, 0.999)
    without = judge(study(indifferent, beta2=betas))
    assert any(text.startswith("β₂ does not matter: its 3 values differ by at most 0") for text in without.reasons)
    mattering = judge(study(lambda lr, e, b: adaptable(lr, e, b) - (0.05 if b == 0.9 else 0), beta2=betas))
    assert any(text.startswith("β₂ matters: ") and "0.9 up to 5 points behind" in text for text in mattering.reasons)
    assert not any("β₂" in text for text in judge(study(adaptable)).reasons)


@pytest.mark.parametrize(
    ("peak", "setting"),
    [(-4, "search.lr={low: 1e-05, high: 0.1}"), (-1, "search.lr={low: 0.0001, high: 1}"), (-2, None)],
)
def test_an_optimum_at_the_edge_of_lr(peak: int, setting: str | None) -> None:
    found = judge(study(lambda lr, e, _: 0.9 - 0.02 * abs(e + 4) - 0.02 * abs(lr - peak)))
    settings = [value for step in found.advice for value in step.settings or () if value.startswith("search.lr")]
    assert settings == ([setting] if setting else [])


@pytest.mark.parametrize(("sampler", "advised"), [("grid", False), ("guided", False), ("tpe", True)])
def test_searches_that_widen_lr_themselves(sampler: str, advised: bool) -> None:
    """Nothing is left for the user to widen; ε may be, with the learning rates that the study found."""
    trials = study(lambda lr, e, _: 0.9 - 0.02 * e - 0.02 * abs(lr + 1))
    found = judge(trials, lr_test=sample.lr_test(), sampler=sampler)
    keys = [[setting.partition("=")[0] for setting in step.settings or ()] for step in found.advice]
    assert (["search.lr"] in keys) == advised
    assert ["search.eps", "search.lr", "search.beta2"] in keys


def test_an_optimum_at_the_edge_of_eps() -> None:
    """Of a range that was probed and of values that were given; in the middle there is nothing to widen."""
    for value, end, beyond in (
        (adaptable, "lower", "search.eps={low: 1e-07, high: 0.01}"),
        (immutable, "upper", "search.eps={low: 1e-06, high: 0.1}"),
    ):
        probed, given = judge(study(value)).advice[-1], judge(study(value, lrs=MANY), probe=None).advice[-1]
        assert f"at the {end} end of the probed range" in probed.text
        assert f"at the {end} edge of those tried" in given.text
        # Without a probe, `beta2: auto` could not count the batches of a train(run).
        assert probed.settings == (beyond, "search.beta2=0.999")
        assert given.settings == (beyond,)
    assert judge(study(partial)).advice == ()


def test_only_one_eps_has_values() -> None:
    """All trials at the others were pruned at once."""
    trials = [
        trial if trial.eps == EPS[0] else trial.model_copy(update={"state": "pruned", "value": None, "seed_values": []})
        for trial in study(adaptable)
    ]
    assert not any("search.eps" in " ".join(step.settings or ()) for step in judge(trials).advice)


def test_a_grid_that_was_interrupted() -> None:
    """No trial is waiting: the driver, which knew what there was to run, is gone."""
    found = judge(study(partial, lrs=(1e-3,)), planned=20)
    assert found.reasons == ("Only 5 of 20 trials have finished: resume the study.",)
    assert found.advice[0].settings == ()
    # Of cells that always raise, no study would come to its verdict.
    raised = [sample.trial(90 + i, lr=1.0, eps=10.0**i, state="failed", fail_reason="raised") for i in range(5)]
    assert judge([*study(partial), *raised], planned=25).kind == "partial"
    lost = [trial.model_copy(update={"fail_reason": "lost"}) for trial in raised]
    assert judge([*study(partial), *lost], planned=25).kind == "undecided"


def test_one_learning_rate_with_seeds_is_a_row_repeated() -> None:
    """It is from a study that had the others: to propose that one would go round in a circle."""
    assert judge(study(partial, lrs=(1e-3,))).advice[0].settings == ("search.lr={low: 1e-4, high: 1e-1}",)
    assert judge(study(partial, lrs=(1e-3,), seed_values=[0.8, 0.9])).advice[0].settings is None


def test_a_probed_range_of_one_value() -> None:
    """The probe is not asked again: its answer would be the same."""
    advice = judge(study(partial, eps=(1e-3,))).advice[0]
    assert advice.settings == ("search.eps={low: 0.0001, high: 0.01}", "search.beta2=0.999")
    assert judge(study(partial, eps=(1e-3,)), probe=None).advice[0].settings == ("search.eps=grid",)
    assert judge(study(partial, eps=(1e-3,)), probe=None, sampler="qmc").advice[0].settings == (
        "search.eps=continuous",
    )


def words(found: Outcome, index: int = -1) -> list[str]:
    """The command of an advice, without the program."""
    return shlex.split(command(found, verdict(found).advice[index]))[-8:]


def test_the_command() -> None:
    """A wider grid resumes in the same directory; other seeds make a new study with its own name."""
    found = outcome(study(adaptable), probe=None)
    study_file = "runs/test/study.yaml"
    assert words(found)[-6:] == [
        "run",
        study_file,
        "--dir",
        "runs/test",
        "--set",
        "search.eps={low: 1e-07, high: 0.01}",
    ]
    valley = outcome(study(lambda lr, e, b: indifferent(lr, e, b) - (0.05 if e == -4 else 0)))
    assert words(valley, 0) == [
        *["run", study_file, "--dir", "runs/test-3-seeds"],
        *["--set", "name=cifar10-vgg11-3-seeds", "--set", "training.seeds=[0,1,2]"],
    ]
    # A sampler's axes are part of what it is.
    sampled = outcome(study(adaptable), probe=None, sampler="tpe", name="1e-3 [x]")
    assert words(sampled) == [
        *["run", study_file, "--dir", "runs/test-eps-1e-07-0.01"],
        *["--set", 'name="1e-3 [x]-eps-1e-07-0.01"', "--set", "search.eps={low: 1e-07, high: 0.01}"],
    ]
    few = outcome(study(adaptable)[:1], sampler="tpe")
    assert words(few)[-4:] == ["--dir", "runs/test", "--set", "engine.trials=20"]
    long = outcome(study(adaptable), probe=None, sampler="tpe", name="é" * 100)
    (name,) = [word for word in words(long) if word.startswith("name=")]
    assert len(name.removeprefix("name=").strip('"').encode()) <= 200


def test_profile() -> None:
    assert best_by(study(indifferent), "lr", "maximize") == {1e-4: 0.86, 1e-3: 0.88, 1e-2: 0.9, 1e-1: 0.88}


def test_baselines_are_not_judged() -> None:
    sgd = sample.trial(99, 0.99, optimizer="sgd_momentum", lr=1.0, eps=None)
    assert judge([*study(adaptable), sgd]).kind == "adaptable"
