"""Beside the classes of the same name in pytorch_optimizer: where they agree with Table 5, and why ours are ours."""

import math

import numpy as np
import pytest
import torch

from epsearch import create_optimizer
from tests.optimizers.drive import BETAS, LR, gradients, parameters, read_z, step_through, trained, weights

library = pytest.importorskip("pytorch_optimizer")


def theirs(cls, dtype=torch.float64, **keywords):
    params = parameters(weights(), dtype)
    optimizer = cls(params, **{"lr": LR, **keywords})
    step_through(optimizer, params, gradients())
    return optimizer, params


@pytest.mark.parametrize("eps", [1e-16, 1e-8, 1e-1])
@pytest.mark.parametrize(
    ("name", "library_class", "ours", "keywords"),
    [
        ("adabelief", "AdaBelief", {}, {"betas": BETAS}),
        # Theirs begins m at the initial accumulator, too.
        ("yogi", "Yogi", {"initial_accumulator": 0.0}, {"betas": BETAS, "initial_accumulator": 0.0}),
    ],
)
def test_where_the_equations_agree(name, library_class, ours, keywords, eps):
    _, params = trained(name, eps=eps, dtype=torch.float64, **ours)
    _, others = theirs(getattr(library, library_class), eps=eps, **keywords)
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_an_accumulated_epsilon_cannot_be_taken_out_again():
    """Which is why AdaBelief, EAdam and AdaMomentum keep v here."""
    eps, t, beta2 = 1e-8, 25, BETAS[1]
    optimizer, params = theirs(library.AdaBelief, torch.float32, betas=BETAS, eps=eps)
    ours, others = trained("adabelief", eps=eps)
    off = []
    for p, q in zip(params, others, strict=True):
        s = optimizer.state[p]["exp_avg_var"].double().numpy()
        v = s - eps * (1 - beta2**t) / (1 - beta2)
        z = read_z(ours, q)
        small = (z > 0) & (z < 1e-6 * eps)
        off.append((np.abs((1 - beta2) / (1 - beta2**t) * v / np.where(small, z, 1) - 1) > 0.5)[small])
    assert np.concatenate(off).mean() > 0.9


def test_madgrad_steps_with_epsilon_added_to_its_lr():
    _, params = trained("madgrad", eps=1e-3, dtype=torch.float64)
    _, others = theirs(library.MADGRAD, lr=LR - 1e-3, momentum=BETAS[0], eps=1e-3)
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def one_step(make, gradient):
    p = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = make([p])
    p.grad = torch.tensor([gradient], dtype=torch.float64)
    optimizer.step()
    return 1 - p.item()


def test_diffgrad_has_a_second_epsilon_inside_its_root():
    """√(v + 1e-15): no gradient below 3e-8 is adapted to, however small ε."""
    g, eps = 1e-10, 1e-16
    ours = one_step(lambda params: create_optimizer("diffgrad", params, lr=LR, eps=eps), g)
    other = one_step(lambda params: library.DiffGrad(params, lr=LR, eps=eps), g)
    xi = 1 / (1 + math.exp(-g))
    assert ours == pytest.approx(LR * xi, rel=1e-5)
    assert other < 0.01 * ours


def test_adamod_adds_epsilon_before_bias_correction():
    """In the first step ε counts 1 / √(1 - β₂) times as much."""
    g, eps = 1e-4, 1e-4
    other = one_step(lambda params: library.AdaMod(params, lr=LR, eps=eps, betas=(0.0, 0.99, 0.0)), g)
    ours = one_step(lambda params: create_optimizer("adamod", params, lr=LR, eps=eps, betas=(0.0, 0.99), beta3=0.0), g)
    assert ours == pytest.approx(LR * g / (g + eps))
    assert other == pytest.approx(LR * g / (g + eps / math.sqrt(1 - 0.99)))


def test_lamb_has_epsilon_in_the_ratio_of_its_norms():
    """There a large ε shrinks each step by another factor, on top of the one that the norms take out again."""
    g, eps = 1e-3, 1.0
    ours = one_step(lambda params: create_optimizer("lamb", params, lr=LR, eps=eps), g)
    other = one_step(lambda params: library.Lamb(params, lr=LR, eps=eps), g)
    assert ours == pytest.approx(LR)
    assert other < 0.01 * ours
