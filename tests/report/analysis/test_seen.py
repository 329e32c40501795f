"""Studies that were judged wrongly before, drawn again with what was seen of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from epsearch.core.examples import examples_of
from epsearch.records.trial import Trial
from epsearch.report.analysis.line import line
from epsearch.report.analysis.verdict import Verdict, verdict
from tests.report import sample


def trials_of(lrs, epsilons, value, sigma=0.0, seeds=1, optimizer="adam") -> list[Trial]:
    """A grid whose cells have `value(log10 lr, log10 eps)` plus noise in proportion to how bad they are."""
    rng, trials = np.random.default_rng(0), []
    for eps in epsilons:
        for lr in lrs:
            mean = value(math.log10(lr), math.log10(eps))
            drawn = [float(mean + sigma * mean * rng.normal()) for _ in range(seeds)]
            spread = float(np.std(drawn, ddof=1)) if seeds > 1 else None
            fields = {"lr": lr, "eps": eps, "seed_values": drawn, "spread": spread, "optimizer": optimizer}
            trials.append(sample.trial(len(trials), float(np.mean(drawn)), **fields))
    return trials


def judge(trials: list[Trial], **fields) -> Verdict:
    defaults = {"trials": trials, "metric": "loss", "goal": "minimize", "history": None, "probe": None}
    return verdict(sample.outcome(Path("runs/seen"), **{**defaults, **fields}))


def half_decades(low: float, high: float) -> list[float]:
    return [10**x for x in np.arange(low, high + 1e-9, 0.5)]


def powers(low: int, high: int) -> list[float]:
    return [float(f"1e{k}") for k in range(low, high + 1)]


def test_a_plateau_beside_cells_that_do_not_learn() -> None:
    """A vision transformer: 0.19 on the plateau, 0.156 at best, 0.315 at the largest ε, and losses of 30."""

    def loss(lr: float, eps: float) -> float:
        ridge = -3 + max(0.0, eps + 3)
        level = 0.19 - 0.034 * math.exp(-((eps + 2) ** 2)) + 0.125 * max(0.0, eps) ** 2
        return level * (1 + 0.3 * (lr - ridge) ** 2) if lr < ridge + 1 else 30.0

    found = judge(trials_of(half_decades(-5, 2), powers(-10, 1), loss, 0.02, 2))
    assert found.kind != "indifferent"
    assert found.rows[-1].state == "worse"
    assert found.tolerance is not None
    assert found.tolerance < 0.02


def test_ends_whose_best_lr_is_at_an_edge_prove_nothing() -> None:
    """One epoch of Fashion-MNIST at both ends of ε."""

    def error(lr: float, eps: float) -> float:
        return 0.15 + 0.03 * (lr - (-3 if eps < -4 else -0.5)) ** 2

    ends = [1e-6, 1e-2]
    narrow = judge(trials_of(powers(-4, -2), ends, error))
    assert narrow.kind == "undecided"
    assert "at an edge of those tried" in narrow.sure
    assert narrow.advice[0].settings == ("search.lr={low: 0.0001, high: 0.1}",)
    wide = judge(trials_of(half_decades(-4.5, 1), ends, error))
    assert wide.kind in ("indifferent", "undecided")


def test_a_plateau_of_13_rows_from_one_seed() -> None:
    """0.296 to 0.313 from 1e-10 to 1e-4, worse above."""

    def loss(lr: float, eps: float) -> float:
        ridge = -2 + max(0.0, eps + 3)
        return (0.305 + 0.05 * max(0.0, eps + 3)) * (1 + 0.1 * (lr - ridge) ** 2)

    found = judge(trials_of(half_decades(-5, 1.5), powers(-10, 2), loss, 0.015))
    assert found.kind in ("adaptable", "undecided")  # at the largest ε the best lr is not reached
    assert found.interval is not None
    assert found.interval[0] == 1e-10
    assert found.interval[1] >= 1e-5
    assert found.headline.startswith("Any ε from 1e-10 to 1e-")
    assert found.action.startswith("Keep the default ε, 1e-8, and tune lr")
    assert found.line is not None
    assert found.line.startswith("torch.optim.Adam(params, lr=")
    assert found.line.endswith("betas=(0.9, 0.999), eps=1e-8)")


def test_two_of_360_images_decide_nothing() -> None:
    rng, trials = np.random.default_rng(1), []
    for eps in powers(-7, -2):
        for lr in half_decades(-4, -1):
            for beta2 in (0.9, 0.999):
                right = rng.binomial(360, 0.965 - 0.02 * (math.log10(lr) + 2.5) ** 2)
                fields = {"lr": lr, "eps": eps, "beta2": beta2, "seed_values": [right / 360]}
                trials.append(sample.trial(len(trials), right / 360, **fields))
    found = judge(trials, metric="accuracy", goal="maximize")
    assert found.kind in ("indifferent", "undecided")
    assert any("β₂ does not matter" in text for text in found.reasons)
    assert any("360 examples" in text for text in found.reasons)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_quickstart_does_not_contradict_itself(seeds: int) -> None:
    """Undecided, fully adaptable and indifferent, one after the other, for the same surface."""

    def accuracy(lr: float, eps: float) -> float:
        return 0.962 - 0.02 * (lr - (-2.5 + max(0.0, eps + 3))) ** 2

    found = judge(trials_of(powers(-5, 0), powers(-6, -1), accuracy, 0.006, seeds), metric="accuracy", goal="maximize")
    assert found.kind in ("indifferent", "undecided")
    assert found.eps == 1e-8 or found.eps in powers(-6, -1)


def test_nothing_is_said_of_an_eps_without_trials() -> None:
    """TPE with no trial below 2.2e-5."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(60):
        eps, lr = 10 ** rng.uniform(-4.65, -1), 10 ** rng.uniform(-4, 0)
        value = 0.97 - 0.02 * (math.log10(lr) + 2) ** 2 + 0.001 * rng.normal()
        trials.append(sample.trial(number, value, lr=lr, eps=eps, seed_values=[value]))
    found = judge(trials, metric="accuracy", goal="maximize", sampler="tpe", probe=sample.probe())
    assert min(row.eps for row in found.rows) == 1e-5
    lowest = min(trial.eps or 1.0 for trial in trials)
    assert lowest > 2e-5
    assert not any("ε, 1e-6" in text for text in found.reasons)


def test_examples() -> None:
    correct = (340, 341, 347, 350, 353)
    assert examples_of([right / 360 for right in correct], "accuracy") == 360
    assert examples_of([float(np.float32(right / 360)) for right in correct], "accuracy") == 360
    assert examples_of([right / 360 for right in correct], "loss") is None
    assert examples_of([0.9, 0.8], "accuracy") is None
    assert examples_of([float(x) for x in np.random.default_rng(0).random(9)], "accuracy") is None


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", "torch.optim.Adam(params, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)"),
        ("amsgrad", "torch.optim.Adam(params, lr=1e-2, betas=(0.9, 0.999), amsgrad=True, eps=1e-8)"),
        ("rmsprop", "torch.optim.RMSprop(params, lr=1e-2, alpha=0.999, eps=1e-8)"),
        ("adabelief", 'epsearch.create_optimizer("adabelief", params, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)'),
        ("unknown", None),
    ],
)
def test_the_line_to_copy(optimizer: str, expected: str | None) -> None:
    assert line(optimizer, 1e-2, 1e-8, 0.999) == expected


def test_its_lines_build_their_optimizers() -> None:
    import torch

    import epsearch
    from epsearch.registry.optimizers import OPTIMIZERS

    for name, row in OPTIMIZERS.items():
        params = [torch.nn.Parameter(torch.zeros(2))]
        written = line(name, 1e-2, None if row.eps is None else 1e-7, None)
        assert written is not None
        built = eval(written, {"torch": torch, "epsearch": epsearch, "params": params})
        assert built.param_groups[0]["lr"] == 1e-2
        assert row.eps is None or built.param_groups[0]["eps"] == 1e-7
