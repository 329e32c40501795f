"""Adam's step in one pass over memory instead of ten, where that is right."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def use_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Have torch's own Adam or AdamW step by its fused kernel on a CPU; whether it does.

    On a GPU torch chooses well by itself. The kernel goes through memory without looking at strides: gradients must
    be `aligned` before each step.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    fits = isinstance(optimizer, torch.optim.Adam) and all(
        parameter.device.type == "cpu" and parameter.is_floating_point() for parameter in parameters
    )
    for group in optimizer.param_groups:
        # A checkpoint brings the setting of the machine that it was made on.
        if "fused" in group:
            group["fused"] = True if fits else None
    return fits


def aligned(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Give every gradient its parameter's strides, which those of convolutions and transposed weights may not have."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
