"""Log ẑ every few steps of a training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.utils.hooks import RemovableHandle

from epsearch.core.errors import UserError
from epsearch.optimizers import denominator_reader, unwrapped
from epsearch.probing.measure import measure
from epsearch.records.advice import advice
from epsearch.records.series import series


class ScalarWriter(Protocol):
    """Anything with TensorBoard's `add_scalar`, such as `torch.utils.tensorboard.SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Write one value."""


def watch(
    optimizer: torch.optim.Optimizer,
    model: torch.nn.Module | None = None,
    *,
    to: Callable[[dict[str, float], int], object] | ScalarWriter,
    every: int = 500,
    step: int = 0,
    warn_above: float = 0.1,
) -> RemovableHandle:
    """Log ẑ and how much of the update ε takes, every so many steps of `optimizer`, without changing the training.

    The values are those of `epsearch.records.series`: adaptive fraction, damping, and percentiles of ẑ by class. The
    first time that ε takes more than `warn_above` of the update of a class, a warning says so. If the model is sharded,
    all ranks must watch; only rank 0 logs. If nothing can be measured, for example because the training diverged, this
    warns and logs nothing.

    Args:
        to: TensorBoard's `SummaryWriter`, or a function of a dictionary of values and the step: `mlflow.log_metrics`,
            or `lambda values, step: wandb.log(values, step=step)`.
        every: Steps from one reading to the next.
        step: Steps already taken, in a training that resumes.

    Returns:
        A handle, whose `remove()` ends the watch.

    Raises:
        UserError: the optimizer is not supported, or an argument is out of range.
    """
    denominator_reader(optimizer)  # fail fast on unknown optimizers
    if every < 1:
        raise UserError(f"watch: every must be at least 1, not {every}.")
    log = _logger(to)
    taken, warned = step, False

    def after_step(*_: Any) -> None:
        nonlocal taken, warned
        taken += 1
        if taken % every:
            return
        try:
            result = measure(optimizer, model)
        except UserError as error:
            warnings.warn(f"step {taken} is not logged: {error}", stacklevel=2)
            return
        if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank():
            return
        log(series(result), taken)
        if not warned and result.eps and max(result.damping_by_kind(result.eps).values()) > warn_above:
            warned = True
            warnings.warn(f"step {taken}: {advice(result)[0]}", stacklevel=2)

    return unwrapped(optimizer).register_step_post_hook(after_step)


def _logger(to: Callable[[dict[str, float], int], object] | ScalarWriter) -> Callable[[dict[str, float], int], object]:
    add = getattr(to, "add_scalar", None)
    if add is not None:

        def write(values: dict[str, float], step: int) -> None:
            for name, value in values.items():
                add(name, value, step)

        return write
    if callable(to):
        return to
    raise UserError(f"watch: to must be a SummaryWriter or a function of (values, step), not {type(to).__name__}.")
