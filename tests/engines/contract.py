"""What every engine must do, run on one of them: `python -m tests.engines.contract ENGINE FOLDER`.

Writes the trials to FOLDER/seen.json. One process per engine, so that Ray is started once.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import optuna
import yaml

import epsearch
from epsearch.engines.base import open_engine
from epsearch.records.listener import Listener
from epsearch.records.trial import Cell
from epsearch.study.file import load_study

MODULE = """
from pathlib import Path
import torch

HEALED = Path(__file__).with_name("healed")

def train(run):
    torch.manual_seed(run.seed)
    model = torch.nn.Linear(4, 1)
    optimizer = run.optimizer(model)
    for epoch in run.epochs():
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.tensor([1.0, 0.1, 0.01, 0.001])).square().mean().backward()
            optimizer.step()
        if run.probing:
            run.report(score=0.0)
        elif run.lr == 1.0 and not HEALED.exists():
            raise ValueError("not today")
        elif run.lr == 0.1:
            run.report(score=float("nan"))
        else:
            run.report(score=run.lr * (run.seed + 1) + epoch)
"""

AUTO_MODULE = """
import math
import torch

def train(run):
    torch.manual_seed(run.seed)
    model = torch.nn.Linear(4, 1)
    optimizer = run.optimizer(model)
    for epoch in run.epochs():
        for _ in range(100):
            optimizer.zero_grad()
            (model(torch.tensor([1.0, 0.1, 0.01, 0.001])) - 1).square().mean().backward()
            optimizer.step()
        run.report(score=-abs(math.log10(run.lr) + 4))
"""

PRUNED_MODULE = """
def train(run):
    for epoch in run.epochs():
        run.report(score=0.0 if run.lr == {worst} else 1.0)
"""

PRUNED_LR = [1e-4, 1e-3, 1e-2, 0.1, 1.0, 2.0, 3.0]
WORST_LR = 2.0
"""The last that the grid runs: Optuna's median pruner lets the first five trials finish."""


class Interrupting(Listener):
    """Ctrl-C as the second trial starts."""

    def trial_started(self, optimizer: str, number: int, cell: Cell) -> None:
        if number == 1:
            signal.raise_signal(signal.SIGINT)


def write(folder: Path, name: str, module: str, **sections: Any) -> Path:
    """A study of a user's module, one trial at a time."""
    folder.mkdir()
    # Each study has a module of another name: Python keeps what it has imported.
    (folder / f"{folder.name}_code.py").write_text(module)
    study = {
        "name": folder.name,
        "workload": {"train": f"{folder.name}_code:train"},
        "metric": {"name": "score", "goal": "maximize"},
        **sections,
        "engine": {"name": name, "workers": 1, **sections.get("engine", {})},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def seen(outcome: epsearch.Outcome) -> list[dict[str, Any]]:
    """The trials, in the order of their start."""
    keys = ("number", "state", "lr", "eps", "value", "seed_values", "epochs", "fail_reason", "error")
    return [{key: getattr(trial, key) for key in keys} for trial in outcome.trials]


def run_all(engine: str, folder: Path) -> dict[str, Any]:
    """Run the studies; return their trials and logs."""
    study = write(
        folder / "mixed",
        engine,
        MODULE,
        training={"epochs": 2, "seeds": [0, 1]},
        search={"eps": "endpoints", "lr": [1e-2, 0.1, 1.0], "beta2": 0.9},
    )
    run_dir = folder / "mixed" / "run"
    found: dict[str, Any] = {}
    with contextlib.suppress(KeyboardInterrupt):
        epsearch.run(study, directory=run_dir, listener=Interrupting())
        found["interrupted"] = False
    first = epsearch.run(study, directory=run_dir)
    assert first.probe is not None
    found |= {"endpoints": first.probe.range.endpoints(), "mixed": seen(first)}
    found["log"] = "".join(log.read_text() for log in sorted((run_dir / "logs").iterdir()))
    with open_engine(load_study(study), run_dir / "logs") as opened:
        test: epsearch.LrTest = opened.call("lr_test", 1e-6)
        found["lr_test"] = test.model_dump()
    (folder / "mixed" / "healed").touch()
    found["healed"] = seen(epsearch.run(study, directory=run_dir))
    study = write(
        folder / "pruned",
        engine,
        PRUNED_MODULE.format(worst=WORST_LR),
        training={"epochs": 3},
        search={"eps": 1e-8, "lr": PRUNED_LR, "beta2": 0.9},
        engine={"pruner": "median"},
    )
    found["pruned"] = seen(epsearch.run(study, directory=folder / "pruned" / "run"))
    study = write(
        folder / "auto",
        engine,
        AUTO_MODULE,
        training={"epochs": 1},
        search={"eps": "endpoints", "lr": "auto", "beta2": 0.9},
    )
    auto = epsearch.run(study, directory=folder / "auto" / "run")
    assert auto.lr_test is not None
    found |= {"suggestion": auto.lr_test.suggestion, "auto": seen(auto)}
    found["widenings"] = [widening.model_dump() for widening in auto.widenings]
    return found


def main() -> None:
    """Run the studies on the engine named on the command line."""
    engine, folder = sys.argv[1], Path(sys.argv[2])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
    if engine == "ray":
        import ray

        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    (folder / "seen.json").write_text(json.dumps(run_all(engine, folder)))


if __name__ == "__main__":
    main()
