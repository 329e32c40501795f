"""A study's results as plain data for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from epsearch.records.outcome import Outcome
from epsearch.report.analysis.verdict import verdict


def to_json(outcome: Outcome) -> dict[str, Any]:
    """What `epsearch report --json` prints for each run.

    name, metric, goal, optimizer, directory; `range`: lower, upper, and the adaptive share at each power of ten, None
    where ε was given; `lr_test`: the record of the learning-rate test, None unless lr is auto; `best`: a trial or None;
    `verdict`: the fields of `Verdict`; `trials`: each with the columns of trials.csv, its history,
    and the epochs of each of its seeds (`seed_epochs`).
    """
    probe = outcome.probe
    shares = {f"{eps:g}": probe.adaptive_fraction(eps) for eps in probe.range.grid()} if probe is not None else {}
    trials = [trial.model_dump(mode="json") for trial in outcome.trials]
    best = outcome.best
    return {
        "name": outcome.name,
        "metric": outcome.metric,
        "goal": outcome.goal,
        "optimizer": outcome.optimizer,
        "directory": str(outcome.directory),
        "range": None
        if probe is None
        else {"lower": probe.range.lower, "upper": probe.range.upper, "adaptive_fraction": shares},
        "lr_test": None if outcome.lr_test is None else outcome.lr_test.model_dump(mode="json"),
        "best": None if best is None else best.model_dump(mode="json"),
        "verdict": asdict(verdict(outcome)),
        "trials": trials,
    }
