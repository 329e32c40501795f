"""ẑ and the update of every row, beside a plain transcription of its equations."""

import numpy as np
import pytest
import torch

from epsearch import measure
from epsearch.registry.optimizers import ADAPTIVE, OPTIMIZERS
from tests.optimizers import twins
from tests.optimizers.drive import BETAS, LR, gradients, read_z, trained, weights
from tests.optimizers.twins import TWINS


def twin_of(name, eps, sequence=None, **keywords):
    pairs = zip(weights(), gradients() if sequence is None else sequence, strict=True)
    return [TWINS[name](theta, each, LR, eps, *BETAS, **keywords) for theta, each in pairs]


def test_every_row_has_a_twin():
    assert list(TWINS) == ADAPTIVE


@pytest.mark.parametrize("eps", [1e-16, 1e-8, 1.0])
@pytest.mark.parametrize("name", ADAPTIVE)
class TestTwin:
    def test_z(self, name, eps):
        optimizer, params = trained(name, eps=eps)
        # Adamax keeps |g| + ε: what is far below ε cannot be had from it.
        atol = 1e-6 * eps if name == "adamax" else 0
        for p, (_, z) in zip(params, twin_of(name, eps), strict=True):
            np.testing.assert_allclose(read_z(optimizer, p), z, rtol=1e-5, atol=atol)

    def test_percentiles(self, name, eps):
        if name == "adamax" and eps > 1e-12:
            pytest.skip("the lower ones are below what u keeps")
        optimizer, _ = trained(name, eps=eps)
        result = measure(optimizer)
        for layer, (_, z) in zip(result.layers, twin_of(name, eps), strict=True):
            assert layer.zeros == np.count_nonzero(z == 0)
            assert (layer.p2, layer.p98) == pytest.approx(np.percentile(z[z > 0], [2, 98]), rel=1e-5)

    def test_update(self, name, eps):
        """Where ε enters, and everything else of the step: in float64, so that nothing hides in rounding."""
        # torch.optim.NAdam keeps its product of μ in float32, whatever the parameters are.
        rtol = 1e-5 if name == "nadam" else 1e-9
        # AdamW's default weight decay is 0.01.
        _, params = trained(name, eps=eps, dtype=torch.float64, weight_decay=0.0)
        for p, (theta, _) in zip(params, twin_of(name, eps), strict=True):
            np.testing.assert_allclose(p.detach().numpy(), theta, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_what_v_sees_of_weight_decay(name):
    """As the row's note says it."""
    decay = 0.3
    first = [[each[0]] for each in gradients()]
    with_l2 = [[each[0] + decay * theta] for each, theta in zip(first, weights(), strict=True)]
    seen = with_l2 if "L2 weight decay" in OPTIMIZERS[name].note else first
    optimizer, params = trained(name, dtype=torch.float64, sequence=first, weight_decay=decay)
    for p, (_, z) in zip(params, twin_of(name, 1e-8, seen), strict=True):
        np.testing.assert_allclose(read_z(optimizer, p), z, rtol=1e-9)


def test_lamb_decays_inside_its_ratio():
    _, params = trained("lamb", dtype=torch.float64, weight_decay=0.3)
    for p, (theta, _) in zip(params, twin_of("lamb", 1e-8, weight_decay=0.3), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["adabelief", "adamod", "adamomentum", "diffgrad", "eadam", "madgrad", "yogi"])
def test_decoupled_decay_shrinks_the_weight_alone(name):
    first = [[each[0]] for each in gradients()]
    optimizer, params = trained(
        name, dtype=torch.float64, sequence=first, weight_decay=0.3, decoupled_weight_decay=True
    )
    _, plain = trained(name, dtype=torch.float64, sequence=first)
    # MADGRAD keeps only the share β₁ of the shrunk weight.
    kept = BETAS[0] if name == "madgrad" else 1.0
    for p, q, theta, (_, z) in zip(params, plain, weights(), twin_of(name, 1e-8, first), strict=True):
        np.testing.assert_allclose(read_z(optimizer, p), z, rtol=1e-9)
        shrunk = q.detach().numpy() - kept * LR * 0.3 * theta
        np.testing.assert_allclose(p.detach().numpy(), shrunk, rtol=1e-9, atol=1e-12)


def test_centered_rmsprop_forms_the_variance_first():
    optimizer, params = trained("rmsprop", eps=1e-8, dtype=torch.float64, centered=True)
    for p, theta, each in zip(params, weights(), gradients(), strict=True):
        expected, z = twins.rmsprop_centered(theta, each, LR, 1e-8, *BETAS)
        np.testing.assert_allclose(read_z(optimizer, p), z, rtol=1e-6)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-6)
        assert "grad_avg" in optimizer.state[p]


@pytest.mark.parametrize("name", ["adabelief", "eadam", "adamomentum"])
def test_z_survives_an_epsilon_that_dwarfs_v(name):
    """Read from an s with ε accumulated, in float32, these would be noise or zero."""
    optimizer, params = trained(name, eps=1e6)
    for p, (_, z) in zip(params, twin_of(name, 1e6), strict=True):
        np.testing.assert_allclose(read_z(optimizer, p), z, rtol=1e-5)


@pytest.mark.parametrize("name", ["adagrad", "madgrad"])
def test_rows_without_beta2_ignore_it(name):
    assert "beta2" not in OPTIMIZERS[name].takes
    results = [TWINS[name](weights()[0], gradients()[0], LR, 1e-8, 0.9, beta2)[1] for beta2 in (0.5, 0.999)]
    np.testing.assert_array_equal(*results)
