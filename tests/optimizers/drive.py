"""Gradients to step on, and the steps: the same for an optimizer and its twin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from epsearch.core.imports import load_object
from epsearch.optimizers import create_optimizer, denominator_reader
from epsearch.registry.optimizers import OPTIMIZERS

SHAPES = [(40,), (7, 9), (3, 4, 5), (1,)]
LR, BETAS = 1e-2, (0.9, 0.99)


def gradients(seed: int = 0, steps: int = 25, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[list[np.ndarray]]:
    """[tensor][step]: float32 values over 16 decades; some elements are always exactly zero, more are at times."""
    random = np.random.default_rng(seed)
    found = []
    for shape in shapes:
        size = 10.0 ** random.uniform(-12, 4, shape)
        never = (random.random(shape) < 0.1) & (np.prod(shape) > 1)
        found.append(
            [
                np.where(never | (random.random(shape) < 0.1), 0, size * random.standard_normal(shape))
                .astype(np.float32)
                .astype(np.float64)
                for _ in range(steps)
            ]
        )
    return found


def weights(seed: int = 1, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32).astype(np.float64) for shape in shapes]


def parameters(start: Iterable[np.ndarray], dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor(value, dtype=dtype)) for value in start]


def step_through(
    optimizer: torch.optim.Optimizer,
    params: Sequence[torch.nn.Parameter],
    sequence: Sequence[Sequence[np.ndarray]],
    transform: Callable[[torch.Tensor], torch.Tensor] = lambda g: g,
) -> None:
    """Step once for every gradient of `sequence`, [tensor][step]."""
    for each in zip(*sequence, strict=True):
        for p, g in zip(params, each, strict=True):
            p.grad = transform(torch.tensor(g, dtype=p.dtype, device=p.device))
        optimizer.step()


def trained(
    name: str,
    *,
    eps: float = 1e-8,
    dtype: torch.dtype = torch.float32,
    sequence: Sequence[Sequence[np.ndarray]] | None = None,
    **keywords: object,
) -> tuple[torch.optim.Optimizer, list[torch.nn.Parameter]]:
    """The optimizer `name` after stepping on `sequence` (the usual gradients), and its parameters."""
    params = parameters(weights(), dtype)
    optimizer = create_optimizer(name, params, lr=LR, betas=BETAS, eps=eps, **keywords)
    step_through(optimizer, params, gradients() if sequence is None else sequence)
    return optimizer, params


def has_option(name: str, option: str) -> bool:
    """Whether the class of this row takes `option`."""
    return option in inspect.signature(load_object(OPTIMIZERS[name].path)).parameters


def read_z(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter) -> np.ndarray:
    """ẑ of one parameter, elementwise, in float64."""
    group = next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))
    term = denominator_reader(optimizer)(optimizer.state[parameter], group)
    return (term.scale * term.v.double().cpu().numpy()) ** term.power
