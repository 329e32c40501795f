"""The number formats of a training: what `training.precision` means to torch."""

from __future__ import annotations

import contextlib

import torch

MIXED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Formats of the forward and backward pass alone; weights and the optimizer stay float32."""


def set_precision(name: str) -> None:
    """Make this process compute in the format: new tensors are float64 or float32, matrix products on a GPU TF32."""
    torch.set_default_dtype(torch.float64 if name == "float64" else torch.float32)
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")


def autocast(name: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """A context for the forward pass, which the backward pass follows."""
    if name not in MIXED:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=MIXED[name])


def loss_scaler(name: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales a float16 loss so that small gradients do not vanish; the optimizer sees them unscaled, as ε needs."""
    return torch.amp.GradScaler(device.type, enabled=name == "float16")
