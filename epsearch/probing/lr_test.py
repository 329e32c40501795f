"""The learning-rate test: a few steps of training while lr rises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from epsearch.core.errors import UserError
from epsearch.probing.lr_curve import FEWEST_STEPS
from epsearch.probing.lr_sweep import LrSweep
from epsearch.probing.snapshot import Snapshot
from epsearch.records.lr_test import STEPS, LrTest


def lr_test(
    model: torch.nn.Module,
    batches: Iterable[Any],
    loss_fn: Callable[[torch.nn.Module, Any], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int = STEPS,
) -> LrTest:
    """Train `model` for `steps` steps while lr rises from 1e-6 to 30, and read from the losses which lr to try.

    `batches` and `loss_fn` are those of `probe`; too few batches are iterated again. Start from the initial weights, at
    the smallest ε to be searched. The test ends early once the smoothed loss has risen to 4 times its minimum. Groups
    keep the ratios of their lr; the suggestion is for the first group. Model, optimizer and random state are restored.

    The suggestion is where a search should begin, and no more: within a decade of the best lr in nearly all, within
    half a decade in most of the trainings that it was measured on, with 100 steps (see docs/probe.md). It is None if
    the curve shows nothing, with wide bounds and the reason.

    After L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), Section 3.3.

    Raises:
        UserError: `batches` is empty or too short to iterate again, `steps` is below 20, or the process group has
            several ranks.
        StudyError: the loss of the first step is NaN or infinite.
    """
    if steps < FEWEST_STEPS:
        raise UserError(f"lr_test: steps must be at least {FEWEST_STEPS}, not {steps}.")
    if (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    ):
        raise UserError("lr_test: run it in one process, before the model is distributed.")
    lr = float(optimizer.param_groups[0]["lr"])
    if not lr > 0:
        raise UserError(f"lr_test: the first group's lr must be above 0 to keep the groups' ratios, not {lr:g}.")
    sweep = LrSweep(steps)
    snapshot = Snapshot(model, optimizer)
    try:
        model.train()
        sweep.attach(optimizer, lr)
        with sweep:
            for batch in _repeated(batches):
                optimizer.zero_grad()
                try:
                    loss = loss_fn(model, batch)
                except Exception:
                    if sweep.late:  # some losses reject NaN
                        break
                    raise
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return sweep.result()
    finally:
        snapshot.restore()


def _repeated(batches: Iterable[Any]) -> Iterator[Any]:
    passes = 0
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            reason = "is exhausted after one pass: use a list or a DataLoader" if passes else "is empty"
            raise UserError(f"lr_test: batches {reason}.")
        passes += 1
