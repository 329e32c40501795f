"""Measure what moves the range of Algorithm 2, and by how many decades: ε and lr of the probe, its length, the seed.

Three workloads with Adam: an MLP and a small CNN on Fashion-MNIST, and a character LSTM on a text. A run trains for two
epochs and is measured after a quarter, a half, one and two epochs (measuring does not train).

    EPSEARCH_DATA=… python benchmarks/probe_trust.py [TEXT]

TEXT is the file for the character model; default: the sources of Python's standard library.
"""

from __future__ import annotations

import itertools
import math
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from epsearch import EpsilonRange, create_optimizer, measure
from epsearch.study.config import StudyConfig
from epsearch.training.seeding import seed_all
from epsearch.workloads.vision.workload import VisionWorkload

EPS, LR, SEEDS, LENGTHS = (1e-8, 1e-2), (1e-4, 1e-3, 1e-2), (0, 1, 2), (0.25, 0.5, 1.0, 2.0)
REFERENCE = (1e-8, 1e-3, 1.0)
"""The default: ε, lr and epochs of the probe."""


class CharacterModel(nn.Module):
    """One LSTM layer of 128 units over embedded characters."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 64)
        self.lstm = nn.LSTM(64, 128, batch_first=True)
        self.output = nn.Linear(128, characters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.output(self.lstm(self.embedding(x))[0])
        return hidden


class Characters:
    """Windows of 64 characters from the first 400,000 of a text, 32 at a time."""

    def __init__(self, text: str) -> None:
        text = text[:400_000]
        alphabet = {character: index for index, character in enumerate(sorted(set(text)))}
        codes = torch.tensor([alphabet[character] for character in text])
        self.windows = codes[: len(codes) // 65 * 65].view(-1, 65)
        self.size = len(alphabet)

    def model(self) -> nn.Module:
        return CharacterModel(self.size)

    def train_batches(self, epoch: int) -> Iterator[torch.Tensor]:
        for part in torch.randperm(len(self.windows)).split(32):
            yield self.windows[part]

    def loss(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def fashion_mnist(model: str) -> VisionWorkload:
    workload = {"name": "vision", "dataset": "fashion_mnist", "model": model}
    study = {"name": "trust", "workload": workload, "training": {"batch_size": 128}}
    return VisionWorkload(StudyConfig.model_validate(study), torch.device("cpu"))


class Setting(NamedTuple):
    eps: float
    lr: float
    epochs: float
    seed: int


def ranges(workload: Any, settings: tuple[float, float, int]) -> dict[Setting, EpsilonRange]:
    """Train once and measure at each length."""
    eps, lr, seed = settings
    seed_all(seed)
    model = workload.model()
    optimizer = create_optimizer("adam", model.parameters(), lr=lr, eps=eps)
    steps = sum(1 for _ in workload.train_batches(0))
    marks = {round(length * steps): length for length in LENGTHS}
    found, done = {}, 0
    for epoch in range(math.ceil(max(LENGTHS))):
        seed_all(seed, epoch)
        for batch in workload.train_batches(epoch):
            optimizer.zero_grad()
            workload.loss(model, batch).backward()
            optimizer.step()
            done += 1
            if done in marks:
                found[Setting(eps, lr, marks[done], seed)] = measure(optimizer, model).paper_range
    return found


def decade(value: float) -> int:
    return round(math.log10(value))


def spread(found: dict[Setting, EpsilonRange], keep: Callable[[Setting], bool]) -> str:
    """The ranges over the settings that `keep` selects: `-5…-1`, or `-6/-5…-1` if an end takes several values."""
    kept = [value for setting, value in found.items() if keep(setting)]
    ends = (sorted({decade(value.lower) for value in kept}), sorted({decade(value.upper) for value in kept}))
    return " … ".join("/".join(map(str, values)) for values in ends)


def main() -> None:
    torch.set_num_threads(1)
    text = Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else library_sources()
    workloads = {
        "MLP, Fashion-MNIST": fashion_mnist("mlp"),
        "CNN, Fashion-MNIST": fashion_mnist("cnn"),
        "character LSTM": Characters(text),
    }
    table = Table("exponents of lower … upper", *workloads)
    found: dict[str, dict[Setting, EpsilonRange]] = {}
    for name, workload in workloads.items():
        found[name] = {}
        for settings in itertools.product(EPS, LR, SEEDS):
            found[name] |= ranges(workload, settings)
    eps0, lr0, epochs0 = REFERENCE

    def row(title: str, keep: Callable[[Setting], bool]) -> None:
        table.add_row(title, *(spread(found[name], keep) for name in workloads))

    row("default, three seeds", lambda s: (s.eps, s.lr, s.epochs) == REFERENCE)
    for eps in EPS[1:]:
        row(f"eps {eps:g}", lambda s, eps=eps: (s.eps, s.lr, s.epochs) == (eps, lr0, epochs0))
    for lr in (lr for lr in LR if lr != lr0):
        row(f"lr {lr:g}", lambda s, lr=lr: (s.eps, s.lr, s.epochs) == (eps0, lr, epochs0))
    for epochs in (epochs for epochs in LENGTHS if epochs != epochs0):
        row(f"{epochs:g} epochs", lambda s, epochs=epochs: (s.eps, s.lr, s.epochs) == (eps0, lr0, epochs))
    row("both eps, one epoch, any lr", lambda s: s.epochs == epochs0)
    row("everything", lambda s: True)
    Console(width=120).print(table)


def library_sources() -> str:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return "".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)


if __name__ == "__main__":
    main()
