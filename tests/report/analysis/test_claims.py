"""Claims from draws whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from epsearch.report.analysis.claims import better_end, is_bracketed, is_worse


def draws(*means: float, error: float = 0.01, seed: int = 0) -> np.ndarray:
    return np.array(means) + error * np.random.default_rng(seed).normal(size=(4000, len(means)))


def test_worse_than_one_other() -> None:
    assert is_worse(draws(0.0, 0.05), 0, [0, 1], 1.0)
    assert not is_worse(draws(0.05, 0.0), 0, [0, 1], 1.0)
    assert not is_worse(draws(0.0, 0.015), 0, [0, 1], 1.0)
    assert not is_worse(draws(0.0, 0.0015, error=1e-5), 0, [0, 1], 1.0)  # sure, but negligible


def test_nothing_is_worse_than_itself() -> None:
    assert not is_worse(draws(0.0, 0.05), 0, [0], 1.0)
    assert not is_worse(draws(0.0, 0.05), 0, [], 1.0)


def test_the_best_of_many_is_lucky() -> None:
    """Equal ε, estimated with noise: without a correction, one of 13 would be worse than the best in most studies."""
    rng, wrong, naive = np.random.default_rng(0), 0, 0
    for study in range(200):
        drawn = draws(*0.01 * rng.normal(size=13), seed=study)
        wrong += is_worse(drawn, 0, range(13), 0.0)
        best = drawn.mean(axis=0).argmax()
        naive += bool((drawn[:, best] <= drawn[:, 0]).mean() < 0.05)
    assert wrong <= 0.09 * 200  # 5 %, and three standard errors
    assert naive > 0.2 * 200


def test_the_better_end() -> None:
    assert better_end(draws(0.0, 0.5, 0.05)) == "large"
    assert better_end(draws(0.05, 0.5, 0.0)) == "small"
    assert better_end(draws(0.0, 0.5, 0.01)) is None


@pytest.mark.parametrize(
    ("tried", "known"),
    [
        ([-1.0, 1.0], True),
        ([-0.5, 0.0], True),
        ([0.0], False),
        ([0.5, 1.0], False),
        ([-3.0, 0.5], False),
        ([], False),
    ],
)
def test_an_optimum_needs_lr_on_both_sides(tried: list[float], known: bool) -> None:
    assert is_bracketed(0.0, np.array(tried)) == known
