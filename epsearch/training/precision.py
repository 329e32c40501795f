"""Number formats: what `training.precision` sets in torch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch

MIXED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Formats of the forward and backward pass only; weights and the optimizer stay float32."""


def set_precision(name: str) -> None:
    """Set this process's format: new tensors are float64 or float32; `tf32` allows TF32 matrix products on a GPU."""
    torch.set_default_dtype(torch.float64 if name == "float64" else torch.float32)
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")


@contextlib.contextmanager
def autocast(name: str, device: torch.device) -> Iterator[None]:
    """Context for the forward pass; the backward pass uses the same formats."""
    if name not in MIXED:
        yield
        return
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    # torch fails if oneDNN has no LSTM in this format; torch's own kernels work on every CPU.
    onednn.enabled = before and (device.type != "cpu" or _has_format(name))
    try:
        with torch.autocast(device.type, dtype=MIXED[name]):
            yield
    finally:
        onednn.enabled = before


@functools.cache
def _has_format(name: str) -> bool:
    """Whether oneDNN can train and evaluate an LSTM in this format on this CPU.

    This tries it: torch reports the CPU's instructions, but a CPU with float16 instructions does not imply that oneDNN
    has a float16 LSTM.
    """
    # Leaves the trial's random numbers unchanged.
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", dtype=MIXED[name]):
        try:
            lstm, batch = torch.nn.LSTM(8, 8, dtype=torch.float32), torch.zeros(2, 2, 8)
            with torch.enable_grad():
                lstm(batch)[0].sum().backward()
            with torch.no_grad():
                lstm(batch)
        except RuntimeError:
            return False
    return True


def loss_scaler(name: str, device: torch.device) -> torch.amp.GradScaler:
    """Scale float16 losses so that small gradients do not vanish; the optimizer sees them unscaled, as ε needs."""
    return torch.amp.GradScaler(device.type, enabled=name == "float16")
