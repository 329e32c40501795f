"""The probe: train briefly, read ẑ from the state that the optimizer keeps anyway (Algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from epsearch.core.errors import StudyError, UserError
from epsearch.optimizers import denominator_reader
from epsearch.probing.measure import measure
from epsearch.probing.sharding import inner_model, on_any_rank
from epsearch.probing.snapshot import Snapshot
from epsearch.records.probe import ProbeResult


def probe(
    model: torch.nn.Module,
    batches: Iterable[Any],
    loss_fn: Callable[[torch.nn.Module, Any], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    epochs: int = 1,
    *,
    percentiles: Sequence[float] = (2, 98),
    restore: bool = True,
) -> ProbeResult:
    """Train `model` for `epochs`, measure ẑ at the last step, put model and optimizer back as they were.

    `batches` is any iterable of whatever `loss_fn(model, batch)` takes and turns into a scalar tensor (a
    DataLoader, say); it is gone through once an epoch. Model and batches must be on one device already, unless
    `loss_fn` moves them. With `restore=False` the model stays trained, and no copy of it is kept meanwhile.

    In a distributed run (DDP, FSDP2) every rank calls this with batches of its own, and gets the same result.

    Raises:
        UserError: the optimizer is not known, `batches` is empty, or nothing could be measured.
        StudyError: the loss became NaN or infinite; the model is restored.
    """
    denominator_reader(optimizer)  # an unknown optimizer is said before an epoch is spent
    inner_model(model)  # as is a kind of sharding that cannot be read
    if epochs < 1:
        raise UserError(f"probe: epochs must be at least 1, not {epochs}.")
    snapshot = Snapshot(model, optimizer) if restore else None
    try:
        model.train()
        steps = 0
        # Summed on the device: asking each step's loss for its value would hold up a GPU.
        total: torch.Tensor | float = 0.0
        for _ in range(epochs):
            before = steps
            for batch in batches:
                optimizer.zero_grad()
                loss = loss_fn(model, batch)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total = total + loss.detach()
                steps += 1
            if steps == before:
                reason = "is used up after one epoch: give a list or a DataLoader" if steps else "is empty"
                raise UserError(f"probe: batches {reason}.")
        if on_any_rank(not math.isfinite(float(total)), model):
            raise StudyError("the loss became NaN or infinite while probing; probe with a smaller lr.")
        return measure(optimizer, model, percentiles=percentiles, settings={"epochs": epochs, "steps": steps})
    finally:
        if snapshot is not None:
            snapshot.restore()
