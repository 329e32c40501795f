"""The probe: train briefly, then read ẑ from the optimizer's state (Algorithm 2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from epsearch.core.errors import StudyError, UserError
from epsearch.optimizers import denominator_reader
from epsearch.probing.measure import measure
from epsearch.probing.sharding import inner_model, on_any_rank
from epsearch.probing.snapshot import Snapshot
from epsearch.records.probe import ProbeResult, RangeKind


def probe(
    model: torch.nn.Module,
    batches: Iterable[Any],
    loss_fn: Callable[[torch.nn.Module, Any], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    epochs: int = 1,
    *,
    range: RangeKind = "pooled",
    percentiles: Sequence[float] = (2, 98),
    exclude: Sequence[str] = (),
    restore: bool = True,
) -> ProbeResult:
    """Train `model` for `epochs`, measure ẑ after the last step, and restore model and optimizer.

    `range`, `percentiles` and `exclude` are those of `measure`.

    `batches` is an iterable such as a DataLoader, iterated once per epoch; `loss_fn(model, batch)` returns the loss as
    a scalar tensor. Model and batches must be on the same device unless `loss_fn` moves them. With `restore=False` the
    model stays trained, and no copy of it is kept.

    In a distributed run (DDP, FSDP2) every rank calls this with its own batches, and all get the same result.

    Raises:
        UserError: the optimizer is not supported, `batches` is empty, or nothing could be measured.
        StudyError: the loss became NaN or infinite; the model is restored.
    """
    denominator_reader(optimizer)  # fail fast on unknown optimizers
    inner_model(model)  # and on kinds of sharding that cannot be read
    if epochs < 1:
        raise UserError(f"probe: epochs must be at least 1, not {epochs}.")
    snapshot = Snapshot(model, optimizer) if restore else None
    try:
        model.train()
        steps = 0
        # Sum on the device: reading the loss at every step would stall a GPU.
        total: torch.Tensor | float = 0.0
        for _ in itertools.repeat(None, epochs):
            before = steps
            for batch in batches:
                optimizer.zero_grad()
                loss = loss_fn(model, batch)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total = total + loss.detach()
                steps += 1
            if steps == before:
                reason = "is exhausted after one epoch: use a list or a DataLoader" if steps else "is empty"
                raise UserError(f"probe: batches {reason}.")
        if on_any_rank(not math.isfinite(float(total)), model):
            raise StudyError("the loss became NaN or infinite while probing; probe with a smaller lr.")
        settings = {"epochs": epochs, "steps": steps}
        return measure(optimizer, model, range=range, percentiles=percentiles, exclude=exclude, settings=settings)
    finally:
        if snapshot is not None:
            snapshot.restore()
