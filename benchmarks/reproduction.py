"""Run the probes of Tables 2, 3 and 4, and write the tables of docs/reproduction.md from their records.

    EPSEARCH_DATA=… python benchmarks/reproduction.py probe [ROW ...]   # one epoch each, 5 s to 2 hours on one core
    python benchmarks/reproduction.py                                   # rewrite the tables from the records

A row is a study of studies/paper, possibly with other settings, or limited to the first steps of an epoch that would
take hours. The results are in benchmarks/results/probes.json; a row that runs again replaces its record.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import epsearch
from epsearch import pipeline
from epsearch.core.numbers import label
from epsearch.records.epsilon import power_of_ten
from epsearch.records.probe import ProbeResult
from epsearch.study.file import load_study

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "results" / "probes.json"
PAGE = ROOT / "docs" / "reproduction.md"
RUNS = Path("runs/reproduction")

NAMES = {
    "vgg11": "VGG11",
    "alexnet": "AlexNet",
    "resnet34": "ResNet34",
    "densenet121": "DenseNet121",
    "lstm1": "1-layer LSTM",
    "lstm2": "2-layer LSTM",
    "mlp": "MLP",
    "cifar10": "CIFAR-10",
    "ptb": "PTB",
    "fashion_mnist": "Fashion-MNIST",
    "adam": "Adam",
    "rmsprop": "RMSprop",
    "adabelief": "AdaBelief",
    "adamomentum": "AdaMomentum",
}


FASTER = "training.channels_last=true"
"""The same network, a quarter faster on a CPU; not a different row, but a way to run it in under two hours."""


@dataclass(frozen=True)
class Row:
    """A probe: a study of studies/paper or of further/, its settings, and the first `steps` of the epoch, or all."""

    study: str
    settings: tuple[str, ...] = ()
    steps: int | None = None

    @property
    def key(self) -> str:
        """Its name on the command line and in the records."""
        return " ".join([self.study, *self.at])

    @property
    def at(self) -> list[str]:
        """The changes to the study: settings without their section, and the steps."""
        parts = [setting.removeprefix("probe.") for setting in self.settings if setting != FASTER]
        return [*parts, f"{self.steps} steps"] if self.steps else parts

    @property
    def file(self) -> Path:
        """The study file."""
        folders = ROOT / "studies" / "paper", ROOT / "benchmarks" / "further"
        return next(path for folder in folders if (path := folder / f"{self.study}.yaml").exists())


PAPER: dict[Row, tuple[int, int]] = {
    Row("cifar10-vgg11"): (-6, -2),
    Row("cifar10-alexnet"): (-6, -2),
    Row("cifar10-densenet121", (FASTER,)): (-4, -1),
    Row("cifar10-resnet34", steps=30): (-4, -1),
    Row("ptb-lstm1"): (-6, -2),
    Row("ptb-lstm2"): (-7, -2),
    Row("cifar10-vgg11-rmsprop"): (-6, -2),
    Row("cifar10-vgg11-adabelief"): (-17, -6),
    Row("cifar10-vgg11-adamomentum"): (-16, -7),
    Row("ptb-lstm1-rmsprop"): (-6, -2),
    Row("ptb-lstm1-adabelief"): (-15, -8),
    Row("ptb-lstm1-adamomentum"): (-16, -7),
}
"""Tables 3 (Adam) and 4: exponents of ε_lower and ε_upper."""

FURTHER = [
    Row("cifar10-vgg11", ("probe.eps=1e-2",)),
    Row("cifar10-vgg11", ("probe.eps=1e-2", "probe.lr=1e-2")),
    Row("cifar10-vgg11-rmsprop", ("probe.eps=1e-2",)),
    Row("cifar10-vgg11-adamomentum", ("probe.eps=1e-10",)),
    Row("cifar10-vgg11-adamomentum", ("probe.eps=1e-16",)),
    Row("ptb-lstm1-adamomentum", ("probe.eps=1e-14",)),
    Row("ptb-lstm1-adamomentum", ("probe.eps=1e-14", "probe.lr=1e-2")),
    Row("ptb-lstm1-adamomentum", ("probe.eps=1e-14", "probe.lr=1e-4")),
    Row("ptb-lstm1-adamomentum", ("probe.eps=1e-14", "probe.lr=1e-5")),
    Row("ptb-lstm1-adamomentum", ("probe.eps=1e-16",)),
    Row("ptb-lstm2", ("probe.lr=1e-2",)),
    Row("ptb-lstm2-400"),
    Row("cifar10-densenet121", ("probe.eps=1e-2", "probe.lr=1e-2", FASTER)),
    Row("cifar10-densenet121", ("probe.eps=1e-2", "probe.lr=1e-2"), steps=30),
    Row("cifar10-densenet121", ("probe.eps=1e-2",), steps=30),
    Row("cifar10-densenet121", steps=30),
    Row("cifar10-vgg11", steps=30),
    Row("cifar10-alexnet", steps=30),
    Row("fashion-mnist-mlp"),
    Row("fashion-mnist-alexnet"),
]
"""Runs that show why a row differs or how far a part of an epoch can be trusted; models not in the tables."""

SHARES: dict[str, list[tuple[Row, list[float]]]] = {
    "1-layer LSTM": [(Row("ptb-lstm1"), [100, 99.85, 91.88, 9.14])],
    "2-layer LSTM": [
        (Row("ptb-lstm2"), [100, 99.89, 81.83, 3.62]),
        (Row("ptb-lstm2-400"), []),
        (Row("ptb-lstm2", ("probe.lr=1e-2",)), []),
    ],
    "VGG11": [
        (Row("cifar10-vgg11"), [61.50, 4.59, 0.33, 2e-5]),
        (Row("cifar10-vgg11", ("probe.eps=1e-2",)), []),
        (Row("cifar10-vgg11", ("probe.eps=1e-2", "probe.lr=1e-2")), []),
    ],
    "DenseNet121": [
        (Row("cifar10-densenet121", (FASTER,)), [98.40, 6.88, 0.10, 0]),
        (Row("cifar10-densenet121", steps=30), []),
        (Row("cifar10-densenet121", ("probe.eps=1e-2", "probe.lr=1e-2", FASTER)), []),
        (Row("cifar10-densenet121", ("probe.eps=1e-2", "probe.lr=1e-2"), steps=30), []),
        (Row("cifar10-densenet121", ("probe.eps=1e-2",), steps=30), []),
    ],
}
"""Table 2: % of ẑ above ε, of 1e-7 to 1e-4 for the LSTMs and 1e-4 to 1e-1 for the classifiers."""


def run(row: Row) -> dict[str, Any]:
    """Probe; return the results and the machine."""
    began = time.monotonic()
    result = part_of_epoch(row) if row.steps else whole_epoch(row)
    found = result.paper_range
    exponents = range(math.floor(math.log10(found.lower)), math.ceil(math.log10(found.upper)) + 1)
    return {
        "lower": found.lower,
        "upper": found.upper,
        "shares": {
            f"1e{k}": float(f"{100 * result.adaptive_fraction(power_of_ten(k)):.4g}")
            for k in sorted({*exponents, *(range(-7, 0))})
        },
        "layers": [[layer.name, layer.numel, layer.p2, layer.p98] for layer in result.layers],
        "seconds": round(time.monotonic() - began),
        "on": on_what(),
    }


def whole_epoch(row: Row) -> ProbeResult:
    """Probe like `epsearch probe`."""
    run_dir = RUNS / row.key.replace(" ", "-").replace("=", "-")
    found = pipeline.probe(row.file, list(row.settings), run_dir)
    assert found is not None, "these studies probe"
    return found


def part_of_epoch(row: Row) -> ProbeResult:
    """Probe only the first steps of the same epoch."""
    import torch

    from epsearch.training.seeding import seed_all
    from epsearch.workloads import create_workload

    config = load_study(row.file, list(row.settings))
    torch.set_num_threads(config.training.threads)
    seed_all(config.training.seeds[0])
    workload = create_workload(config, torch.device("cpu"))
    model = workload.model()
    settings: dict[str, Any] = {"lr": config.probe.lr, "weight_decay": config.optimizer.weight_decay}
    if config.probe.eps is not None:
        settings["eps"] = config.probe.eps
    optimizer = epsearch.create_optimizer(config.optimizer.name, model.parameters(), **settings)
    batches = itertools.islice(workload.train_batches(0), row.steps)
    return epsearch.probe(model, batches, workload.loss, optimizer, restore=False)


def on_what() -> str:
    """The machine, the relevant versions, and the date."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    processor = next(names, platform.machine())
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {processor}; {versions}; {time.strftime('%Y-%m-%d')}"


def tables(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The tables of the page, by the name of their marker."""
    return {"ranges": ranges(found), "further": further(found), "shares": shares(found)}


def ranges(found: dict[str, dict[str, Any]]) -> str:
    """Tables 3 and 4, compared with ours."""
    lines = ["| table | model, data | optimizer | paper | ours | decades off, lower and upper | steps | seconds |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row, (lower, upper) in PAPER.items():
        ours = found.get(row.key)
        model, optimizer = _model(row)
        table = 3 if optimizer == "Adam" else 4
        cells = [str(table), model, optimizer, f"1e{lower} to 1e{upper}"]
        if ours is None:
            lines.append(f"| {' | '.join(cells)} | not run | | | |")
            continue
        off = (round(math.log10(ours["lower"])) - lower, round(math.log10(ours["upper"])) - upper)
        text = _range(ours)
        cells += [f"**{text}**" if max(map(abs, off)) > 1 else text, f"{off[0]:+d}, {off[1]:+d}"]
        cells += [f"first {row.steps}" if row.steps else "all", str(ours["seconds"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def further(found: dict[str, dict[str, Any]]) -> str:
    """The other runs."""
    lines = ["| model, data | optimizer | probed at | range | seconds |", "|---|---|---|---|---|"]
    for row in FURTHER:
        if ours := found.get(row.key):
            model, optimizer = _model(row)
            parts = [part.replace("=", " ") for part in row.at]
            if row.steps:
                parts[-1] = f"the first {row.steps} steps"
            at = ", ".join(parts) or "the study's own settings"
            lines.append(f"| {model} | {optimizer} | {at} | {_range(ours)} | {ours['seconds']} |")
    return "\n".join(lines)


def shares(found: dict[str, dict[str, Any]]) -> str:
    """Table 2, compared with ours."""
    blocks = []
    for name, rows in SHARES.items():
        first = -7 if "LSTM" in name else -4
        exponents = [f"1e{k}" for k in range(first, first + 4)]
        lines = [f"| {name}, ε | {' | '.join(exponents)} |", "|---|---|---|---|---|"]
        for row, paper in rows:
            if paper:
                lines.append(f"| paper | {' | '.join(_percent(value) for value in paper)} |")
            if ours := found.get(row.key):
                at = " ".join(row.at) or ("both layers 400 wide" if "400" in row.study else "")
                values = " | ".join(_percent(ours["shares"][eps]) for eps in exponents)
                lines.append(f"| ours{at and f', {at}'} | {values} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _percent(value: float) -> str:
    return f"{value:.2f} %" if value >= 0.005 or value == 0 else f"{value:.0e} %".replace("e-0", "e-")


def _range(record: dict[str, Any]) -> str:
    return f"{label('eps', record['lower'])} to {label('eps', record['upper'])}"


def _model(row: Row) -> tuple[str, str]:
    config = load_study(row.file)
    if config.workload.object is not None:
        return "2-layer LSTM, both layers 400 wide, PTB", NAMES[config.optimizer.name]
    dataset, model = config.workload.dataset or "", config.workload.model or ""
    return f"{NAMES[model]}, {NAMES[dataset]}", NAMES[config.optimizer.name]


def write(page: str, parts: dict[str, str]) -> str:
    """Return the page with the text between the markers of each part replaced."""
    for name, text in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, after = page.split(begin, maxsplit=1)[0], page.split(end)[1]
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


def main() -> None:
    found = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    rows = {row.key: row for row in [*PAPER, *FURTHER]}
    if sys.argv[1:2] == ["probe"]:
        for key in sys.argv[2:] or rows:
            found[key] = run(rows[key])
            RECORDS.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
            print(key, _range(found[key]), f"{found[key]['seconds']} s", flush=True)
    PAGE.write_text(write(PAGE.read_text(), tables(found)))


if __name__ == "__main__":
    main()
