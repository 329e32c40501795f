"""epsearch's own training loop: trains a list of runs in lockstep over the same batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from epsearch.study.config import StudyConfig
from epsearch.training.faults import ends_process
from epsearch.training.fused import aligned, use_fused
from epsearch.training.log import quoted
from epsearch.training.precision import autocast, loss_scaler
from epsearch.training.run import Run
from epsearch.training.schedule import lr_factor
from epsearch.training.seeding import RandomStream, seed_all
from epsearch.workloads import Workload

STEPS_BETWEEN_CHECKS = 50
"""Steps between checks of the loss on a GPU: each check makes the host wait for the device."""


def train(workload: Workload, config: StudyConfig, runs: Sequence[Run]) -> None:
    """Train all runs, which share one seed: they start from the same weights and see the same batches in order.

    Each run gets the same result as it would alone: members share only batches, and each has its own stream of random
    numbers (dropout). If a member's model, loss or evaluation raises, only that member ends, since it may have
    diverged; an error in the batches ends all.
    """
    members = []
    for run in runs:
        try:
            members.append(_Member(workload, config, run))
        except BaseException as error:
            run.fail(error)
    for epoch in range(runs[0].planned_epochs()):
        if all(member.run.ended for member in members):
            return
        # A member that resumes from a checkpoint joins at its epoch.
        live = [member for member in members if not member.run.ended and member.run.first_epoch <= epoch]
        if not live:
            continue
        # Batches depend only on the seed and the epoch, not on random numbers drawn before.
        seed_all(runs[0].seed, epoch)
        for batch in (to_device(batch, runs[0].device) for batch in workload.train_batches(epoch)):
            for member in live:
                if not member.run.ended:
                    try:
                        member.step(batch, epoch)
                    except BaseException as error:
                        member.run.fail(error)
        for member in live:
            if not member.run.ended:
                try:
                    member.finish_epoch(epoch)
                except BaseException as error:
                    member.run.fail(error)


class _Member:
    """One run's model, optimizer, schedule and random numbers."""

    def __init__(self, workload: Workload, config: StudyConfig, run: Run) -> None:
        self.run, self._workload, self._settings = run, workload, config.training
        self._interval = STEPS_BETWEEN_CHECKS if run.device.type == "cuda" else 1
        self._build()
        if (state := run.kept_state()) is not None:
            try:
                self._load(state)
            except Exception as error:
                if ends_process(error) is not None:
                    raise
                # The model has changed. Nothing has been reported yet, so the run can start over.
                run.start_again(f"it does not fit ({quoted(error)})")
                self._build()
            else:
                run.restore()
        self._fused = use_fused(self._optimizer)
        self._model.train()

    def _build(self) -> None:
        """Create everything in its state before the first step."""
        run = self.run
        seed_all(run.seed)
        self._model = self._workload.model().to(run.device)
        if self._settings.channels_last:
            self._model = self._model.to(memory_format=torch.channels_last)
        if self._settings.compile:
            self._model.compile()
        self._optimizer = run.optimizer(self._model)
        self._scaler = loss_scaler(self._settings.precision, run.device)
        self._random = RandomStream(run.device, run.seed, -1)
        self._batches = self._pending = self._steps = 0
        self._loss = torch.zeros((), device=run.device)

    def step(self, batch: Any, epoch: int) -> None:
        """Train on one batch; every `accumulate` batches, take an optimizer step on their mean gradient."""
        with self._random.drawn():
            with autocast(self._settings.precision, self.run.device):
                loss = self._workload.loss(self._model, batch)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._loss += loss.detach()
        self._batches += 1
        if self._batches % self._interval == 0:
            self._check_loss()
        self._pending += 1
        if self._pending == self._settings.accumulate:
            self._update(epoch)

    def _update(self, epoch: int) -> None:
        """Take one optimizer step on the accumulated gradients."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.run.lr * lr_factor(self._settings, epoch, self._steps)
        if self._pending > 1 or self._settings.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
        parameters = list(self._model.parameters())
        if self._pending > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad /= self._pending
        if self._settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self._settings.clip_norm)
        if self._fused:
            aligned(parameters)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        self._steps += 1
        self._pending = 0

    def finish_epoch(self, epoch: int) -> None:
        """Evaluate and report, except while probing: the probe's result is read from the optimizer."""
        if self._pending:
            self._update(epoch)
        self._check_loss()
        if self.run.ended or self.run.probing:
            return
        self._model.eval()
        with self._random.drawn(), torch.no_grad(), autocast(self._settings.precision, self.run.device):
            metrics = self._workload.evaluate(self._model)
        self._model.train()
        self.run.report(**{name: float(value) for name, value in metrics.items()}, checkpoint=self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": self._random.state,
            "steps": self._steps,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._random.state = state["random"]
        self._steps = state["steps"]

    def _check_loss(self) -> None:
        """End the run if any loss was not finite: then the sum is not finite either."""
        if not math.isfinite(self._loss.item()):
            self.run.diverge()


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of the batch to `device`, inside tuples, lists and dicts too."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        moved: Iterable[Any] = (to_device(value, device) for value in batch)
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch
