"""What is read from a curve, of the shapes that mislead learning-rate finders."""

import math
import random

import pytest

from epsearch.probing.lr_curve import FIRST_LR, LAST_LR, WIDE, has_diverged, read_curve, rising_lrs

LRS = rising_lrs(100)


def curve(noise=0.0, seed=0, fall_at=1e-2, rise_at=1.0, start=2.3, floor=0.5):
    """A loss that falls around one lr and explodes at another, with the noise of batches."""
    draw = random.Random(seed)
    falling = [start - (start - floor) / (1 + (fall_at / lr) ** 2) for lr in LRS]
    return [
        loss + (lr / rise_at) ** 2 + draw.gauss(0, noise) * (loss / start)
        for lr, loss in zip(LRS, falling, strict=True)
    ]


def decades(one, other):
    return abs(math.log10(one / other))


def suggested(losses):
    reading = read_curve(LRS[: len(losses)], losses)
    assert reading.suggestion is not None, reading.reason
    assert reading.low < reading.suggestion < reading.high
    return reading.suggestion


def test_lr_rises_by_equal_factors():
    assert LRS[0] == FIRST_LR
    assert LRS[-1] == pytest.approx(LAST_LR)
    assert LRS[50] / LRS[49] == pytest.approx(LRS[1] / LRS[0])


def test_a_clean_curve():
    """Falls around 1e-2, explodes around 1."""
    assert decades(suggested(curve()), 1e-2) < 0.5
    assert decades(suggested(curve(fall_at=1e-3, rise_at=0.1)), suggested(curve()) / 10) < 0.1


def test_where_the_loss_explodes_counts_too():
    """A loss that falls in two stages has a first stage at a low lr, and explodes as late as another."""
    assert 1.5 < suggested(curve(rise_at=3.0)) / suggested(curve(rise_at=0.3)) < 3


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_unit_of_the_loss_does_not_matter(scale):
    assert suggested([scale * loss for loss in curve()]) == pytest.approx(suggested(curve()))


def test_a_loss_below_zero():
    """A log-likelihood may have any sign."""
    assert suggested([loss - 100 for loss in curve()]) == pytest.approx(suggested(curve()))


@pytest.mark.parametrize("at", [0, 1, 5, 12, 30])
@pytest.mark.parametrize("size", [-1.5, 3.0, 30.0])
def test_one_spike_moves_little(at, size):
    losses = curve(noise=0.05)
    losses[at] += size
    assert decades(suggested(losses), suggested(curve(noise=0.05))) < 0.2


def test_seeds_agree():
    found = [suggested(curve(noise=0.2, seed=seed)) for seed in range(20)]
    assert decades(max(found), min(found)) < 0.5


def test_few_batches_that_repeat():
    """Each with a level of its own."""
    level = [0.0, 0.4, -0.3, 0.2, -0.3]
    losses = [loss + level[step % 5] for step, loss in enumerate(curve())]
    assert decades(suggested(losses), suggested(curve())) < 0.2


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_that_never_falls_suggests_nothing(seed):
    reading = read_curve(LRS, curve(noise=0.3, seed=seed, floor=2.3))
    assert reading.suggestion is None
    assert (reading.low, reading.high) == WIDE
    assert "batches" in reading.reason


def test_a_constant_loss_suggests_nothing():
    assert read_curve(LRS, [1.0] * 100).suggestion is None


def test_a_loss_that_only_rises_suggests_nothing():
    assert read_curve(LRS, [1.0 + lr for lr in LRS]).suggestion is None


def test_too_few_steps():
    reading = read_curve(LRS[:19], [1.0 - step / 20 for step in range(19)])
    assert reading.suggestion is None
    assert "only 19 steps" in reading.reason


class TestDivergence:
    def test_four_times_the_minimum(self):
        assert not has_diverged([1.0] * 50 + [3.0])
        assert has_diverged([1.0] * 50 + [1000.0])

    def test_a_spike_at_the_start_is_not_yet_a_divergence(self):
        assert not has_diverged([0.1, 50.0])

    def test_below_zero(self):
        assert not has_diverged([-1.0] * 50)
        assert not has_diverged([-1.0] * 50 + [-0.5])
        assert has_diverged([-1.0] * 50 + [1000.0])
