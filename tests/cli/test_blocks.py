"""Figures of block characters."""

from __future__ import annotations

from pathlib import Path

import pytest

from epsearch.cli import blocks
from epsearch.records.epsilon import EpsilonRange
from epsearch.records.histogram import BINS_PER_DECADE, Histogram
from epsearch.records.probe import Layer, ProbeResult
from tests.report import sample


def probe(start: int, counts: list[int], lower: float, upper: float) -> ProbeResult:
    histogram = Histogram(start=start, counts=counts)
    layer = Layer(name="w", numel=sum(counts), zeros=0, nonfinite=0, p2=1e-6, p98=1e-6, histogram=histogram)
    found = EpsilonRange(lower=lower, upper=upper)
    return ProbeResult(range=found, optimizer="adam", percentiles=(2, 98), layers=[layer])


def test_a_histogram() -> None:
    """One decade of ẑ, 1e-5 to 1e-4, denser in its upper half; the range is the decade around."""
    half = BINS_PER_DECADE // 2
    result = probe(-5 * BINS_PER_DECADE, [1] * half + [4] * half, 1e-5, 1e-3)
    line, bracket = (text.plain for text in blocks.histogram(result, 26))
    assert line == "ẑ 1e-5 ▂▂▅██      1e-3"
    assert bracket == "       └────────┘ range of eps"
    assert line[7:17] == "▂▂▅██     "


def test_a_histogram_of_a_point() -> None:
    line, bracket = (text.plain for text in blocks.histogram(probe(-300, [7], 1e-6, 1e-6), 80))
    assert line == "ẑ 1e-6 █     1e-5"
    assert bracket == "       ┴ range of eps"


def test_a_histogram_that_does_not_fit() -> None:
    wide = probe(-20 * BINS_PER_DECADE, [1] * (20 * BINS_PER_DECADE), 1e-18, 1e-2)
    assert blocks.histogram(wide, 30) == []
    assert len(blocks.histogram(wide, 40)[0].plain) <= 40


def test_the_map_of_a_grid() -> None:
    """Every state has its sign, and each row its best value."""
    lines = [line.plain for line in blocks.best_values(sample.outcome(Path()), 80)]
    assert lines[0] == "eps     lr   1e-5  1e-4  1e-3  1e-2  1e-1      best"
    assert [line.split()[0] for line in lines[1:-1]] == ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2"]
    assert [line.split()[-1] for line in lines[1:-1]] == ["0.8520", "0.8720", "0.8920", "0.9120", "0.8920"]
    assert [line.count("◆") for line in lines[1:-1]] == [0, 0, 0, 1, 0]
    assert lines[1].split()[1] == "×"  # raised
    assert lines[1].split()[5] == "×"  # diverged
    assert lines[5].split()[1] == "-"
    assert lines[4].split()[5] == "·"
    assert lines[-1] == "◆ best   × diverged or failed   · not tried   - pruned   brighter is better"


def test_the_map_of_a_sampler() -> None:
    """Draws count for the nearest half decade of lr and power of ten of eps."""
    draws = [(2.9e-3, 1.2e-5, 0.9), (3.3e-3, 0.9e-5, 0.8), (1.1e-2, 2e-4, 0.7)]
    trials = [sample.trial(number, value, lr=lr, eps=eps) for number, (lr, eps, value) in enumerate(draws)]
    lines = [line.plain for line in blocks.best_values(sample.outcome(Path(), trials=trials), 80)]
    assert lines[0].split() == ["eps", "lr", "3e-3", "1e-2", "best"]
    assert [(line.split()[0], line.split()[-1]) for line in lines[1:-1]] == [("1e-5", "0.9000"), ("1e-4", "0.7000")]


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_shades_show_differences_near_the_best(goal: str) -> None:
    """Values within the tolerance look alike; a loss of 1e30 takes no contrast from the others."""
    sign = -1 if goal == "maximize" else 1
    behind = [0.0, 0.009, 0.02, 0.06, 0.12, 1e30]
    trials = [
        sample.trial(number, 1 + sign * value, lr=10 ** (number - 6.0), eps=eps)
        for number, value in enumerate(behind)
        for eps in (1e-6, 1e-5)
    ]
    outcome = sample.outcome(Path(), trials=trials, goal=goal, metric="loss")
    row = blocks.best_values(outcome, 80, tolerance=0.01)[1].plain.split()[1:-1]
    assert row == ["██◆██", "█████", "▓▓▓▓▓", "░░░░░", "░░░░░", "░░░░░"]


def test_no_map_of_what_is_too_small_or_too_wide() -> None:
    outcome = sample.outcome(Path())
    assert blocks.best_values(outcome, 40) == []
    one_eps = [trial for trial in outcome.trials if trial.eps == 1e-4]
    assert blocks.best_values(sample.outcome(Path(), trials=one_eps), 80) == []
    assert blocks.best_values(sample.outcome(Path(), trials=[]), 80) == []
