"""The learning rate schedule, as a factor of the trial's lr."""

from __future__ import annotations

import math

from epsearch.study.schema.training import DecaySection, TrainingSection


def lr_factor(training: TrainingSection, epoch: int, step: int) -> float:
    """The factor of lr in `epoch` (0, 1, …) at the optimizer's `step` (0, 1, … over all epochs).

    Decay is per epoch: `factor` for each epoch of `at` that has been reached, or half a cosine from 1 to 0 over the
    study's epochs. Warm-up is per step: linear from 1/warmup to 1.
    """
    warm = min(1.0, (step + 1) / training.warmup) if training.warmup else 1.0
    decay = training.lr_decay
    if isinstance(decay, DecaySection):
        return warm * decay.factor ** sum(epoch >= at for at in decay.at)
    if decay == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * epoch / (training.epochs or 1)))
    return warm
