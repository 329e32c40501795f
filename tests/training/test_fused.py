"""The fused step is the plain one, whatever the strides."""

from __future__ import annotations

import pytest
import torch

from epsearch.optimizers import create_optimizer
from epsearch.training.fused import aligned, use_fused

FUSED = ("adam", "adamw", "amsgrad")


def model() -> torch.nn.Module:
    """Convolutions with their channels last, whose gradients have other strides where a layer has one channel."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 1), torch.nn.Flatten(), torch.nn.Linear(36, 3)
    )
    return network.double().to(memory_format=torch.channels_last)


def trained(name: str, *, fused: bool, transposed: bool = False) -> list[torch.Tensor]:
    network = model()
    optimizer = create_optimizer(name, network.parameters(), lr=1e-2, eps=1e-3)
    assert not fused or use_fused(optimizer)
    batch = torch.randn(4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for _ in range(5):
        optimizer.zero_grad()
        network(batch).square().sum().backward()
        if transposed:
            # As a backward pass may leave it: the same numbers, column by column.
            weight = network[-1].weight
            weight.grad = weight.grad.t().contiguous().t()
        if fused:
            aligned(network.parameters())
        optimizer.step()
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("transposed", [False, True])
def test_the_same_as_the_plain_step(name: str, transposed: bool) -> None:
    plain, fused = trained(name, fused=False), trained(name, fused=True, transposed=transposed)
    for one, other in zip(plain, fused, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_gradients_that_fit_are_left_as_they_are() -> None:
    network = model()
    network(torch.randn(2, 1, 8, 8, dtype=torch.float64)).sum().backward()
    before = {id(parameter.grad) for parameter in network.parameters() if parameter.grad.stride() == parameter.stride()}
    aligned(network.parameters())
    assert before <= {id(parameter.grad) for parameter in network.parameters()}
    assert all(parameter.grad.stride() == parameter.stride() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["adagrad", "sgd_momentum", "adabelief", "nadam"])
def test_others_are_left_alone(name: str) -> None:
    optimizer = create_optimizer(name, model().parameters(), lr=1e-2)
    assert not use_fused(optimizer)
    assert not optimizer.param_groups[0].get("fused")


def test_a_checkpoint_of_another_machine_does_not_decide() -> None:
    """On a GPU, or for complex parameters, the setting that a CPU's checkpoint brought is taken back."""
    complex_one = torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    optimizer = torch.optim.Adam([complex_one])
    optimizer.param_groups[0]["fused"] = True
    assert not use_fused(optimizer)
    assert optimizer.param_groups[0]["fused"] is None
