"""The same ε in several conventions takes the same steps."""

import itertools

import pytest
import torch

from epsearch import UserError, create_optimizer
from epsearch.records.conventions import convert_eps

CONVENTIONS = ("outside", "hat", "inside", "accumulated")


def steps_of(convention, eps, gradients, lr=1e-3, betas=(0.9, 0.99)):
    """Adam's steps in float64, as an implementation of this convention computes them."""
    (beta1, beta2), steps = betas, []
    m = v = torch.zeros_like(gradients[0])
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2 + (eps if convention == "accumulated" else 0)
        correction1, correction2 = 1 - beta1**t, 1 - beta2**t
        divisor = {
            "outside": (v / correction2).sqrt() + eps,
            "hat": (v.sqrt() + eps) / correction2**0.5,
            "inside": (v / correction2 + eps).sqrt(),
            "accumulated": (v / correction2).sqrt(),
        }[convention]
        steps.append(lr * m / correction1 / divisor)
    return steps


def gradients(scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(7, dtype=torch.float64, generator=generator) * scale for _ in range(20)]


def test_outside_is_what_torch_does():
    parameter = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], betas=(0.9, 0.99), eps=0.3)
    for gradient, step in zip(gradients(), steps_of("outside", 0.3, gradients()), strict=True):
        before, parameter.grad = parameter.detach().clone(), gradient
        optimizer.step()
        torch.testing.assert_close(before - parameter.detach(), step)


def test_accumulated_is_what_eadam_does():
    parameter = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    optimizer = create_optimizer("eadam", [parameter], lr=1e-3, betas=(0.9, 0.99), eps=0.3)
    for gradient, step in zip(gradients(), steps_of("accumulated", 0.3, gradients()), strict=True):
        before, parameter.grad = parameter.detach().clone(), gradient
        optimizer.step()
        torch.testing.assert_close(before - parameter.detach(), step)


@pytest.mark.parametrize("t", [1, 3, 20])
def test_outside_and_hat_take_the_same_step(t):
    eps = convert_eps(1e-2, "hat", "outside", beta2=0.99, step=t)
    torch.testing.assert_close(
        steps_of("hat", 1e-2, gradients(0.01))[t - 1], steps_of("outside", eps, gradients(0.01))[t - 1]
    )


@pytest.mark.parametrize(("source", "target"), [*itertools.permutations(CONVENTIONS, 2)])
@pytest.mark.parametrize(("scale", "factor"), [(1e-7, 1.001), (1e-2, 1.5), (1e3, 1.001)])
def test_far_from_eps_all_take_the_same_step(source, target, scale, factor):
    """The last of 20 steps, with gradients far below an ε of 1e-2, of its size, and far above."""
    eps = convert_eps(1e-2, "outside", source, beta2=0.99, step=20)
    other = convert_eps(eps, source, target, beta2=0.99, step=20)
    ratio = steps_of(source, eps, gradients(scale))[-1] / steps_of(target, other, gradients(scale))[-1]
    assert 1 / factor < ratio.min() <= ratio.max() < factor


def test_later_steps_need_no_number():
    assert convert_eps(1e-7, "hat", "outside") == 1e-7
    assert convert_eps(1e-8, "outside", "inside") == pytest.approx(1e-16)
    assert convert_eps(1e-8, "outside", "accumulated", beta2=0.999) == pytest.approx(1e-19)
    assert convert_eps(1e-16, "accumulated", "outside", beta2=0.999) == pytest.approx(3.16e-7, rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (
            (1e-8, "outside", "within"),
            {},
            "'within' is not a convention; choose from outside, hat, inside",
        ),
        ((0, "outside", "hat"), {}, "eps must be above 0"),
        ((1, "outside", "hat"), {"beta2": 1}, "found eps=1, beta2=1"),
        ((1, "outside", "hat"), {"step": 0}, "step=0"),
    ],
)
def test_mistakes(arguments, keywords, message):
    with pytest.raises(UserError, match=message):
        convert_eps(*arguments, **keywords)
