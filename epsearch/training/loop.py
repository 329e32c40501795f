"""Our own loop, for declarative workloads: trains a list of runs in lockstep over the same batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from epsearch.config import StudyConfig
from epsearch.training.run import Run
from epsearch.training.seeding import RandomStream, seed_all
from epsearch.workloads import Workload

STEPS_BETWEEN_CHECKS = 50
"""On a GPU the loss is asked for its value this often: each question makes the host wait for the device."""


def train(workload: Workload, config: StudyConfig, runs: Sequence[Run]) -> None:
    """Train every run to its end: the same initial weights, batches and order for all, which share one seed.

    Each run's outcome is what it would be alone: a member keeps its own stream of random numbers (dropout), and
    members share batches only.
    """
    members = [_Member(workload, config, run) for run in runs]
    for epoch in range(runs[0].planned_epochs()):
        live = [member for member in members if not member.run.ended]
        if not live:
            return
        # The batches depend on the seed and the epoch alone, whatever was drawn before.
        seed_all(runs[0].seed, epoch)
        for batch in (to_device(batch, runs[0].device) for batch in workload.train_batches(epoch)):
            for member in live:
                if not member.run.ended:
                    member.step(batch)
        for member in live:
            member.finish_epoch()


class _Member:
    """One run's model, optimizer, schedule and random numbers."""

    def __init__(self, workload: Workload, config: StudyConfig, run: Run) -> None:
        self.run, self._workload = run, workload
        seed_all(run.seed)
        self._model = workload.model().to(run.device)
        self._optimizer = run.optimizer(self._model)
        decay = config.training.lr_decay
        self._schedule = torch.optim.lr_scheduler.MultiStepLR(
            self._optimizer, milestones=decay.at if decay else [], gamma=decay.factor if decay else 1.0
        )
        self._random = RandomStream(run.device, run.seed, -1)
        self._interval = STEPS_BETWEEN_CHECKS if run.device.type == "cuda" else 1
        self._steps = 0
        self._loss = torch.zeros((), device=run.device)
        self._model.train()

    def step(self, batch: Any) -> None:
        """One optimizer step on one batch."""
        with self._random.drawn():
            self._optimizer.zero_grad()
            loss = self._workload.loss(self._model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        self._loss += loss.detach()
        self._steps += 1
        if self._steps % self._interval == 0:
            self._check_loss()

    def finish_epoch(self) -> None:
        """Evaluate and report, unless this is the probe, which is read from the optimizer instead."""
        self._check_loss()
        if self.run.ended:
            return
        self._schedule.step()
        if self.run.probing:
            return
        self._model.eval()
        with self._random.drawn(), torch.no_grad():
            metrics = self._workload.evaluate(self._model)
        self._model.train()
        self.run.report(**{name: float(value) for name, value in metrics.items()})

    def _check_loss(self) -> None:
        """A sum that is not finite has had a term that was not."""
        if not math.isfinite(self._loss.item()):
            self.run.diverge()


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on `device`: tuples, lists and dicts of tensors are gone through."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        moved: Iterable[Any] = (to_device(value, device) for value in batch)
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch
