"""A realistic study: a ridge along lr/eps, diverged corners, pruned and waiting trials."""

import itertools
import math
from pathlib import Path

import numpy as np

from epsearch.records.epsilon import EpsilonRange
from epsearch.records.histogram import Histogram
from epsearch.records.lr_test import LrTest
from epsearch.records.outcome import Outcome
from epsearch.records.probe import EpochReading, Layer, ProbeHistory, ProbeResult
from epsearch.records.trial import Trial
from epsearch.report import figures, write_report
from epsearch.report.output import publish as module

LRS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
EPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
BETA2 = (0.9, 0.99, 0.999)


def trial(number: int, value: float | None = None, **fields: object) -> Trial:
    """A complete trial (default: adam at lr 1e-3 and eps 1e-8)."""
    state = "complete" if value is not None else "waiting"
    defaults = {"optimizer": "adam", "state": state, "lr": 1e-3, "eps": 1e-8, "epochs": 5}
    return Trial.model_validate({"number": number, "value": value} | defaults | fields)


def histogram(values: np.ndarray) -> Histogram:
    """The `Histogram` of positive values, by NumPy."""
    bins = np.floor(np.log10(values) * 50).astype(int)
    counts = np.bincount(bins - bins.min())
    return Histogram(start=int(bins.min()), counts=counts.tolist())


def probe(layers: int = 8, name: str = "features.{}.weight") -> ProbeResult:
    """Layers of log-normal ẑ around 1e-4, each a little higher than the one before."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(layers):
        values = 10 ** generator.normal(-4.6 + 1.6 * index / layers, 0.7, size=4000)
        low, high = np.percentile(values, [2, 98])
        rows.append(
            Layer(
                name=name.format(index),
                numel=4000,
                zeros=0,
                nonfinite=0,
                p2=float(low),
                p98=float(high),
                histogram=histogram(values),
            )
        )
    return ProbeResult(
        range=EpsilonRange(lower=1e-6, upper=1e-2),
        optimizer="adam",
        percentiles=(2, 98),
        layers=rows,
        skipped=["classifier.unused"],
        settings={"epochs": 1, "lr": 1e-3},
    )


def lr_test(suggestion: float | None = 3e-3, eps: float = 1e-6) -> LrTest:
    """A curve that falls until 0.1 and then diverges, and a suggestion; None: the curve tells nothing."""
    lrs = np.geomspace(1e-6, 30, 100)[:75]
    return LrTest(
        optimizer="Adam",
        eps=eps,
        lrs=lrs.tolist(),
        losses=(2.3 - np.minimum(1.5, lrs / 3e-3) + (lrs / 0.2) ** 2).tolist(),
        suggestion=suggestion,
        low=1e-5 if suggestion is None else suggestion / 10,
        high=1.0 if suggestion is None else suggestion * 10,
        reason="the loss fell no further than it differs between batches" if suggestion is None else "half of the fall",
        settings={"steps": 75},
    )


def z(epoch: int) -> np.ndarray:
    """ẑ after an epoch of `history`: log-normal, and lower each time until the tenth."""
    return 10 ** np.random.default_rng(epoch).normal(-2.8 - 0.2 * min(epoch, 10), 0.7, size=4000)


def history(epochs: int = 10, eps: float | None = 1e-3) -> ProbeHistory:
    """A training over which ẑ shrinks, as in Fig. 8."""
    readings = [
        EpochReading(epoch=epoch, range=EpsilonRange(lower=1e-6, upper=1e-2), histogram=histogram(z(epoch)))
        for epoch in range(1, epochs + 1)
    ]
    return ProbeHistory(optimizer="Adam", epochs=readings, settings={"lr": 1e-3, "eps": eps})


def grid_trials() -> list[Trial]:
    """5 lr × 5 eps × 3 beta2: most complete, the largest steps diverged, some pruned, failed or waiting."""
    trials = []
    for number, (lr, eps, beta2) in enumerate(itertools.product(LRS, EPS, BETA2)):
        step = math.log10(lr / eps)
        accuracy = 0.91 - 0.06 * abs(step - 1) ** 1.3 / 3 - 0.02 * abs(math.log10(lr) + 2) + 0.002 * beta2
        fields: dict[str, object] = {"lr": lr, "eps": eps, "beta2": beta2, "seconds": 61.5}
        if step > 4:
            fields |= {"state": "failed", "fail_reason": "diverged"}
        elif (lr, eps) == (1e-5, 1e-2):
            fields |= {"state": "pruned", "value": 0.31, "epochs": 1}
        elif (lr, eps) == (1e-5, 1e-6):
            fields |= {"state": "failed", "fail_reason": "raised", "error": "RuntimeError: out of memory"}
        elif (lr, eps) == (1e-1, 1e-3):
            fields |= {"state": "waiting", "epochs": 0}
        else:
            seeds = [accuracy - 0.001, accuracy + 0.001]
            fields |= {"state": "complete", "value": accuracy, "spread": 0.0014, "seed_values": seeds}
        trials.append(trial(number, **fields))
    return trials


def baseline_trials(first: int) -> list[Trial]:
    """SGD with momentum over lr: best at 1e-2, diverged at 1."""
    values = {1e-4: 0.62, 1e-3: 0.81, 1e-2: 0.902, 1e-1: 0.87, 1.0: None}
    return [
        trial(
            first + index,
            value,
            optimizer="sgd_momentum",
            lr=lr,
            eps=None,
            state="failed" if value is None else "complete",
            fail_reason="diverged" if value is None else None,
            spread=None if value is None else 0.004,
        )
        for index, (lr, value) in enumerate(values.items())
    ]


def outcome(directory: Path, **fields: object) -> Outcome:
    """The whole study; `fields` replace parts of it."""
    trials = grid_trials()
    defaults = {
        "name": "cifar10-vgg11",
        "metric": "accuracy",
        "goal": "maximize",
        "optimizer": "adam",
        "probe": probe(),
        "trials": trials + baseline_trials(len(trials)),
        "directory": directory,
    }
    return Outcome.model_validate(defaults | fields)


def write(outcome):
    """The report's files, as `report_stage` writes them."""
    return write_report(outcome, figures(outcome))


def publish(study, outcome):
    """The report in an Optuna study, as `report_stage` publishes it."""
    module.publish(study, outcome, figures(outcome))
