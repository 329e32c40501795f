"""Raise lr over the steps of any training loop, and record the loss of each step.

The loop needs to do nothing for it. lr is set just before each step of the optimizer, after whatever a schedule has
set, and the loss is the tensor on which `backward` is called: `loss.backward()` and trainers' own ways all end in
`torch.autograd.backward`. When the sweep is over, an exception ends the loop.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Self

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from epsearch.core.errors import StudyError, UserError
from epsearch.optimizers import unwrapped
from epsearch.probing.lr_curve import has_diverged, read_curve, rising_lrs
from epsearch.records.lr_test import STEPS, LrTest


class SweepOver(BaseException):
    """Ends the training loop. Not an Exception, so that no `except Exception` in it continues."""


class LrSweep:
    """A learning-rate test of `steps` steps, over the training inside `with sweep:`.

    RMSprop has no bias correction: its first steps are up to 1/√(1 - α) times as large as later ones at the same lr.
    Its lr is lowered accordingly, so that its steps are those of an lr that rises as planned.

    Several calls of `backward` before a step (gradient accumulation) are averaged. A loss that a GradScaler has scaled
    counts unscaled. Losses are read by the process that trains; several ranks would end at different steps.
    """

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps
        """The most steps to take."""
        self._planned = rising_lrs(steps)
        self._lrs: list[float] = []
        self._losses: list[float] = []
        self._seen: list[float] = []
        """Losses since the last step."""
        self._unscaled: MutableMapping[torch.Tensor, torch.Tensor] = WeakTensorKeyDictionary()
        self._inside_backward = False
        self._taken = 0
        self._optimizer: torch.optim.Optimizer | None = None
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._reference = 1.0
        self._ratios: list[float] = []
        self._diverged = False

    def __enter__(self) -> Self:
        self._backward, self._scale = torch.autograd.backward, torch.amp.GradScaler.scale
        torch.autograd.backward = self._see_backward
        torch.amp.GradScaler.scale = self._see_scale()  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        torch.autograd.backward, torch.amp.GradScaler.scale = self._backward, self._scale  # type: ignore[method-assign]
        self._detach()
        return isinstance(error, SweepOver)

    def attach(self, optimizer: torch.optim.Optimizer, lr: float) -> None:
        """Sweep the lr of this optimizer instead of any earlier one; its groups keep their ratios to `lr`."""
        self._detach()
        self._optimizer, self._reference, self._ratios = unwrapped(optimizer), lr, []
        self._read_ratios(self._optimizer)
        self._hooks = [
            self._optimizer.register_step_pre_hook(self._set_lr),
            self._optimizer.register_step_post_hook(self._finish_step),
        ]

    @property
    def late(self) -> bool:
        """Whether lr is so high that training may well raise an error."""
        return self._taken >= self.steps / 2

    def result(self, **settings: float | int | str | None) -> LrTest:
        """The test, with these `settings`.

        Raises:
            UserError: no step, or no loss, was seen.
            StudyError: the first loss was not finite.
        """
        if not self._losses:
            if self._diverged:
                raise StudyError("the loss of the first step is NaN or infinite, before any update.")
            if not self._taken:
                raise UserError("the learning-rate test saw no step of the optimizer: was it the one that trains?")
            raise UserError(
                "the learning-rate test saw no loss: the training loop must call loss.backward() or "
                "torch.autograd.backward(loss). If it cannot, give the learning rates yourself."
            )
        assert self._optimizer is not None, "its steps were seen"
        reading = read_curve(self._lrs, self._losses)
        eps = self._optimizer.param_groups[0].get("eps")
        return LrTest(
            optimizer=type(self._optimizer).__name__,
            eps=float(eps) if eps else None,
            lrs=self._lrs,
            losses=self._losses,
            **reading._asdict(),
            settings={"steps": len(self._losses), **settings},
        )

    def _detach(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _read_ratios(self, optimizer: torch.optim.Optimizer) -> None:
        """Of groups that are new since the last step; a scheduler keeps their lr as `initial_lr`."""
        for group in optimizer.param_groups[len(self._ratios) :]:
            self._ratios.append(float(group.get("initial_lr", group["lr"])) / self._reference)

    def _set_lr(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._end_if_over()  # the loop has caught the exception
        self._read_ratios(optimizer)
        for group, ratio in zip(optimizer.param_groups, self._ratios, strict=True):
            lr = ratio * self._planned[self._taken] * _correction(optimizer, group, self._taken + 1)
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def _finish_step(self, *_: Any) -> None:
        if self._seen:
            self._lrs.append(self._planned[self._taken])
            self._losses.append(statistics.fmean(self._seen))
            self._seen = []
        self._taken += 1
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._diverged or self._taken == self.steps or has_diverged(self._losses):
            raise SweepOver

    def _see_backward(self, tensors: Any, *arguments: Any, **keywords: Any) -> None:
        # Gradient checkpointing calls backward inside backward.
        if self._inside_backward:
            self._backward(tensors, *arguments, **keywords)
            return
        losses = [tensors] if isinstance(tensors, torch.Tensor) else tensors if isinstance(tensors, Sequence) else []
        scalars = [loss for loss in losses if isinstance(loss, torch.Tensor) and loss.numel() == 1]
        if scalars:
            loss = math.fsum(self._unscaled.get(loss, loss.detach()).item() for loss in scalars)
            self._diverged = not math.isfinite(loss)
            if self._diverged:
                raise SweepOver
            self._seen.append(loss)
        self._inside_backward = True
        try:
            self._backward(tensors, *arguments, **keywords)
        finally:
            self._inside_backward = False

    def _see_scale(self) -> Callable[[torch.amp.GradScaler, Any], Any]:
        """GradScaler's method, which remembers the loss of each scaled loss."""
        original, unscaled = self._scale, self._unscaled

        def scale(scaler: torch.amp.GradScaler, outputs: Any) -> Any:
            scaled = original(scaler, outputs)
            both = zip(scaled, outputs, strict=True) if isinstance(outputs, list | tuple) else [(scaled, outputs)]
            for result, loss in both:
                if isinstance(result, torch.Tensor):
                    unscaled[result] = loss.detach()
            return scaled

        return scale


def _correction(optimizer: torch.optim.Optimizer, group: dict[str, Any], step: int) -> float:
    """√(1 - αᵗ) for RMSprop, the missing bias correction of √v; 1 for others."""
    return float((1 - group["alpha"] ** step) ** 0.5) if isinstance(optimizer, torch.optim.RMSprop) else 1.0
