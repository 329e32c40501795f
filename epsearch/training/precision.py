"""The number formats of a training: what `training.precision` means to torch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch

MIXED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Formats of the forward and backward pass alone; weights and the optimizer stay float32."""


def set_precision(name: str) -> None:
    """Make this process compute in the format: new tensors are float64 or float32, matrix products on a GPU TF32."""
    torch.set_default_dtype(torch.float64 if name == "float64" else torch.float32)
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")


@contextlib.contextmanager
def autocast(name: str, device: torch.device) -> Iterator[None]:
    """A context for the forward pass, which the backward pass follows."""
    if name not in MIXED:
        yield
        return
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    # torch asks oneDNN for an LSTM also where oneDNN has none in the format, and fails; its own kernels compute in it
    # on every CPU.
    onednn.enabled = before and (device.type != "cpu" or _has_format(name))
    try:
        with torch.autocast(device.type, dtype=MIXED[name]):
            yield
    finally:
        onednn.enabled = before


@functools.cache
def _has_format(name: str) -> bool:
    """Whether oneDNN trains and evaluates an LSTM in it on this CPU.

    Tried, as what torch reports of the CPU is not what oneDNN has: a CPU with float16 instructions does not make it
    have a float16 LSTM.
    """
    # The trial's own random numbers are not touched.
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
    """Scales a float16 loss so that small gradients do not vanish; the optimizer sees them unscaled, as ε needs."""
    return torch.amp.GradScaler(device.type, enabled=name == "float16")
