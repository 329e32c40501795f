"""How much ε takes of updates: against steps that are taken, and what counts as noise."""

import numpy as np
import pytest
import torch

from epsearch import UserError, create_optimizer, measure
from epsearch.records import EpsilonRange, Histogram, Layer, ProbeResult
from epsearch.records.damping import noise_below, share_taken, without


def counted(z):
    """The histogram of these ẑ."""
    bins = np.floor(np.log10(z) * 50 + 1e-9).astype(int)
    start = bins.min()
    return Histogram(start=start, counts=np.bincount(bins - start).tolist())


def probed(root=1.0, **tensors):
    """A result with tensors of these names, or of kind `attention key` for `key`."""
    kinds = {"key": "attention key", "bias": "bias", "mlp": "MLP", "embedding": "embedding"}
    layers = [
        Layer(
            name=name,
            kind=kinds[name.partition("_")[0]],
            numel=len(z),
            zeros=0,
            nonfinite=0,
            p2=float(np.percentile(z, 2)),
            p98=float(np.percentile(z, 98)),
            histogram=counted(z),
        )
        for name, z in tensors.items()
    ]
    range = EpsilonRange(lower=1e-8, upper=1e-2)
    return ProbeResult(range=range, optimizer="Adam", root=root, percentiles=(2, 98), layers=layers)


def steps_of(name, eps):
    """The size of an optimizer's last step on each of 300 elements, whose gradients span six decades, and ẑ."""
    parameter = torch.nn.Parameter(torch.zeros(300, dtype=torch.float64))
    optimizer = create_optimizer(name, [parameter], lr=1e-3, eps=eps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        parameter.grad = torch.logspace(-6, 0, 300, dtype=torch.float64)
        parameter.grad *= 1 + 0.3 * torch.rand(300, generator=generator, dtype=torch.float64)
        before = parameter.detach().clone()
        optimizer.step()
    return (parameter.detach() - before).abs(), measure(optimizer)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adabelief", "eadam"])
@pytest.mark.parametrize("eps", [1e-8, 1e-5, 1e-3])
def test_is_the_share_by_which_steps_are_smaller(name, eps):
    with_eps, _ = steps_of(name, eps)
    without_eps, result = steps_of(name, 1e-30)
    share = float((1 - with_eps / without_eps).mean())
    assert share_taken(result.histogram, eps, result.root) == pytest.approx(share, rel=0.03, abs=1e-4)


def test_harmless_is_the_largest_power_of_ten_within_the_tolerance():
    z = np.geomspace(1e-5, 1e-1, 10_001)
    result = probed(mlp=z)
    shares = {exponent: np.mean(10.0**exponent / (z + 10.0**exponent)) for exponent in range(-12, 2)}
    for tolerance in (0.001, 0.01, 0.1, 0.5):
        expected = max(exponent for exponent, share in shares.items() if share <= tolerance)
        assert result.harmless(tolerance) == float(f"1e{expected}")
        assert result.damping_by_kind(result.harmless(tolerance))["MLP"] <= tolerance


def test_the_class_with_the_smallest_z_decides():
    result = probed(mlp=np.full(1000, 1e-2), embedding=np.full(50, 2e-5))
    assert result.harmless_by_kind() == {"MLP": 1e-4, "embedding": 1e-7}
    assert result.harmless() == 1e-7
    assert result.damping_by_kind(1e-5) == pytest.approx({"MLP": 1e-3, "embedding": 1 / 3}, rel=0.03)


def test_inside_the_root_half_as_much():
    z = np.full(100, 1e-6)
    assert probed(mlp=z, root=0.5).damping_by_kind(1e-8)["MLP"] == pytest.approx(0.005, rel=0.05)
    assert probed(mlp=z).damping_by_kind(1e-8)["MLP"] == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, 2, float("nan")])
def test_a_tolerance_is_a_share(tolerance):
    with pytest.raises(UserError, match="tolerance must be above 0 and below 1"):
        probed(mlp=np.ones(3)).harmless(tolerance)


class TestNoise:
    def test_a_tensor_of_noise_is_named_and_left_out(self):
        weights = np.geomspace(1e-5, 1e-2, 1000)
        result = probed(mlp=weights, bias=np.geomspace(1e-4, 1e-2, 50), bias_of_key=np.full(4, 1e-11))
        assert result.noise == ["bias_of_key"]
        assert result.by_kind["bias"].total == 50
        assert result.harmless() == probed(mlp=weights, bias=np.geomspace(1e-4, 1e-2, 50)).harmless()

    def test_so_is_the_part_of_a_tensor(self):
        """The biases of the keys are a third of a fused qkv's."""
        bias = np.concatenate([np.geomspace(1e-4, 1e-2, 50), np.full(25, 1e-11)])
        result = probed(mlp=np.geomspace(1e-5, 1e-2, 2000), bias=bias)
        assert result.noise == []
        assert result.by_kind["bias"].total == 50

    def test_a_class_that_is_nothing_else_gets_no_advice(self):
        result = probed(mlp=np.geomspace(1e-5, 1e-2, 1000), bias=np.full(4, 1e-11))
        assert result.noise == ["bias"]
        assert set(result.harmless_by_kind()) == set(result.damping_by_kind(1e-8)) == {"MLP"}

    def test_small_gradients_that_trail_off_are_not_noise(self):
        result = probed(mlp=np.geomspace(1e-5, 1e-2, 1000), embedding=np.geomspace(1e-11, 1e-5, 15))
        assert result.noise == []
        assert result.by_kind["embedding"].total == 15

    def test_a_gap_above_the_bulk_is_not_looked_at(self):
        histogram = counted(np.array([1e-8, 1e-8, 1e-1]))
        assert noise_below(histogram, bulk=1e-8) == 0.0
        assert noise_below(histogram, bulk=1e-1) == pytest.approx(1e-8, rel=0.1)

    def test_zeros_are_kept_apart(self):
        histogram = Histogram(start=-500, counts=[3], zeros=2)
        assert without(histogram, 1e-9) == Histogram(start=-450, counts=[], zeros=2)
