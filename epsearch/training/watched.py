"""The optimizer that a run trains with, and what epsearch reads from it."""

from __future__ import annotations

import math
from typing import Any

import torch

from epsearch.core.errors import UserError
from epsearch.optimizers import denominator_reader, unwrapped
from epsearch.probing.measure import measure
from epsearch.probing.recorder import Recorder
from epsearch.records.probe import ProbeHistory, ProbeResult
from epsearch.study.config import StudyConfig

Settings = dict[str, float | int | str | None]


class WatchedOptimizer:
    """Reads ẑ of the optimizer given to `watch`: once after a probe, or after every epoch of a recorded trial.

    `settings` (seed, device) are kept in the records; `lr` is the trial's own, which a schedule may have changed by
    the end of an epoch.
    """

    def __init__(self, config: StudyConfig, lr: float, settings: Settings, *, probing: bool, recording: bool) -> None:
        self._config, self._lr, self._settings = config, lr, settings
        self._probing, self._recording = probing, recording
        self._reading: dict[str, Any] = config.probe.model_dump(include={"range", "percentiles", "exclude"})
        self._watched: tuple[torch.optim.Optimizer, torch.nn.Module | None] | None = None
        self._recorder: Recorder | None = None
        self._kept_history: ProbeHistory | None = None
        self._hook: torch.utils.hooks.RemovableHandle | None = None
        self._steps = 0

    @property
    def history(self) -> ProbeHistory | None:
        """ẑ after every reported epoch; None if it is not recorded."""
        return self._recorder.history if self._recorder and self._recorder.recorded else self._kept_history

    def watch(self, optimizer: torch.optim.Optimizer, model: torch.nn.Module | None) -> None:
        """Read from this optimizer from now on.

        Raises:
            UserError: while probing or recording, epsearch cannot read this optimizer's ẑ.
        """
        if self._probing:
            denominator_reader(optimizer)
            # The probe counts steps as batches: of one optimizer at a time, each step once.
            if self._hook is not None:
                self._hook.remove()
            self._hook = unwrapped(optimizer).register_step_post_hook(self._count_step)
        if self._recording:
            settings: Settings = {"lr": self._lr, **self._settings}
            self._recorder = Recorder(optimizer, model, **self._reading, settings=settings, history=self.history)
        self._watched = (optimizer, model)

    def resume(self, history: ProbeHistory | None) -> None:
        """Continue the `history` of a checkpoint."""
        self._kept_history = history
        if self._watched is not None:
            self.watch(*self._watched)

    def record(self, epoch: int) -> None:
        """Read ẑ after `epoch` epochs, if this run is recorded.

        Raises:
            UserError: no optimizer is watched.
        """
        if self._recording:
            self.require()
            assert self._recorder is not None, "made with the watched optimizer"
            self._recorder.record(epoch)

    def require(self) -> tuple[torch.optim.Optimizer, torch.nn.Module | None]:
        """The watched optimizer and its model.

        Raises:
            UserError: no optimizer is watched.
        """
        if self._watched is None:
            raise UserError(
                "the train function used no optimizer that epsearch knows of: build it with run.optimizer(model), "
                "or call run.watch(optimizer)."
            )
        return self._watched

    def measure(self) -> ProbeResult:
        """Read ẑ at the end of the probe.

        Raises:
            UserError: no optimizer is watched, or nothing could be measured.
        """
        optimizer, model = self.require()
        epochs = self._config.probe.epochs
        return measure(
            optimizer,
            model,
            **self._reading,
            settings={
                "epochs": epochs,
                "steps": self._steps,
                "batches_per_epoch": math.ceil(self._steps / epochs),
                **self._settings,
            },
        )

    def _count_step(self, *_: Any) -> None:
        self._steps += 1
