"""Compare the speed of an epoch with the usual loop, for every row of the paper's Table 1.

Usual: torchvision's per-image transforms in a DataLoader with two worker processes (the images in memory, as in
torchvision's CIFAR10), an eager model, `torch.optim.Adam`; for text, the loop of PyTorch's and AWD-LSTM's examples.
Ours: epsearch's loop, as it is and with the settings that make it faster on this machine (`channels_last`, `compile`).
All use every core and the same model, batch size and optimizer, each in a separate process; ours is prepared like the
engines' workers. They take turns, after a few warm-up steps; the ratio is taken turn by turn.

    EPSEARCH_DATA=… python benchmarks/epoch_speed.py [TURNS] [ROW ...]

For a network that takes minutes per epoch, a turn is a few steps, without the start of the DataLoader's workers; a turn
of a whole epoch includes it.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from epsearch.records.trial import Cell
from epsearch.study.config import StudyConfig
from epsearch.training.loop import train
from epsearch.training.process import prepare_process
from epsearch.training.run import Run
from epsearch.workloads import Workload, create_workload, load_dataset

CELL = Cell(optimizer="adam", lr=1e-3, eps=1e-8, beta2=0.999)
CPU = torch.device("cpu")
WARM_UP = 2


class Row(NamedTuple):
    """A row of Table 1. `steps` of an epoch make a turn (None: all of them); `faster` are settings that pay off."""

    kind: str
    dataset: str
    model: str
    batch_size: int
    steps: int | None
    faster: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.dataset} {self.model}"


LAST = ("channels_last",)
ROWS = [
    Row("vision", "fashion_mnist", "mlp", 128, None),
    Row("vision", "fashion_mnist", "alexnet", 128, 20),
    Row("vision", "cifar10", "vgg11", 128, 8),
    Row("vision", "cifar10", "alexnet", 128, 20),
    Row("vision", "cifar10", "resnet34", 128, 2, LAST),
    Row("vision", "cifar10", "densenet121", 128, 2, LAST),
    Row("vision", "tiny_imagenet", "vgg11", 32, 8),
    Row("vision", "tiny_imagenet", "alexnet", 32, 20),
    Row("language", "ptb", "lstm1", 20, 20),
    Row("language", "ptb", "lstm2", 20, 4),
]


def study(row: Row, **training: Any) -> StudyConfig:
    text = row.kind == "language"
    augment = {} if text or row.dataset == "fashion_mnist" else {"augment": ["flip", "crop"]}
    clip = {"clip_norm": 0.25} if text else {}
    return StudyConfig.model_validate(
        {
            "name": "benchmark",
            "workload": {"name": row.kind, "dataset": row.dataset, "model": row.model, **augment},
            "training": {"epochs": 1, "batch_size": row.batch_size, **clip, **training},
        }
    )


class Timed:
    """A workload whose epoch is a turn, and which measures the seconds of its steps."""

    def __init__(self, workload: Workload, steps: int | None) -> None:
        self._workload, self._steps = workload, steps
        self.model, self.loss = workload.model, workload.loss
        self.seconds = 0.0

    def train_batches(self, epoch: int) -> Iterator[Any]:
        self.seconds, warm_up = -time.perf_counter(), WARM_UP if self._steps else 0
        batches = self._workload.train_batches(epoch)
        for index, batch in enumerate(islice(batches, self._steps and self._steps + warm_up)):
            if index == warm_up:
                self.seconds = -time.perf_counter()
            yield batch
        self.seconds += time.perf_counter()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"accuracy": 0.0, "perplexity": 0.0}


def ours(row: Row, **training: Any) -> Callable[[], float]:
    config = study(row, **training)
    timed = Timed(create_workload(config, CPU), row.steps)

    def turn() -> float:
        train(timed, config, [Run(config, CELL, 0, CPU)])
        return timed.seconds

    return turn


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Like torchvision's CIFAR10: an array whose images become pictures, are transformed, and become tensors."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, transform: Callable[[Any], torch.Tensor]) -> None:
        self._images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels, self._transform = labels.tolist(), transform
        self._picture = transforms.ToPILImage()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(self._picture(self._images[index])), self._labels[index]


def usual_images(row: Row) -> Callable[[], float]:
    config = study(row)
    data = load_dataset(config)
    steps: list[Any] = [
        transforms.ToTensor(),
        transforms.Normalize(data.mean.flatten() / 255, data.std.flatten() / 255),
    ]
    if config.workload.augment:
        steps = [
            transforms.RandomCrop(data.shape[1], padding=data.shape[1] // 8),
            transforms.RandomHorizontalFlip(),
            *steps,
        ]
    dataset = Images(data.train_images, data.train_labels, transforms.Compose(steps))
    make = create_workload(config, CPU).model

    def turn() -> float:
        torch.manual_seed(0)
        model = make().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=CELL.lr, eps=CELL.eps or 0)
        warm_up = WARM_UP if row.steps else 0
        seconds = -time.perf_counter()
        loader = DataLoader(dataset, row.batch_size, shuffle=True, num_workers=2)
        for index, (images, labels) in enumerate(islice(loader, row.steps and row.steps + warm_up)):
            if index == warm_up and warm_up:
                seconds = -time.perf_counter()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        return seconds + time.perf_counter()

    return turn


def usual_text(row: Row) -> Callable[[], float]:
    config = study(row)
    workload = create_workload(config, CPU)

    def turn() -> float:
        torch.manual_seed(0)
        model: Any = workload.model().train()
        optimizer = torch.optim.Adam(model.parameters(), lr=CELL.lr, eps=CELL.eps or 0)
        state, seconds = None, 0.0
        torch.manual_seed(0)
        for index, (tokens, targets, _) in enumerate(islice(workload.train_batches(0), (row.steps or 0) + WARM_UP)):
            if index == WARM_UP:
                seconds = -time.perf_counter()
            if state is not None:
                state = [tuple(part.detach() for part in layer) for layer in state]
            optimizer.zero_grad()
            features, state = model(tokens, state)
            loss = F.cross_entropy(model.decoder(features).flatten(0, 1), targets.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
        return seconds + time.perf_counter()

    return turn


class Contestant:
    """A process that takes a turn on request."""

    def __init__(self, row: Row, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(row, name, other))
        self._process.start()

    def turn(self) -> float:
        self._pipe.send(True)
        return float(self._pipe.recv())

    def end(self) -> None:
        self._pipe.send(False)
        self._process.join()


def _serve(row: Row, name: str, pipe: Any) -> None:
    # Otherwise the DataLoader's workers would be spawned like this process, which takes seconds.
    multiprocessing.set_start_method("fork", force=True)
    if name == "usual":
        turn = usual_text(row) if row.kind == "language" else usual_images(row)
    else:
        prepare_process(os.cpu_count() or 1)
        turn = ours(row, **dict.fromkeys(row.faster if name == "faster" else (), True))
    while pipe.recv():
        pipe.send(turn())


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    names = [argument for argument in sys.argv[1:] if not argument.isdigit()]
    turns = numbers[0] if numbers else 5
    table = Table("row", "steps", "usual s", "ours s", "usual / ours", "min", "max", "with", "usual / ours with it")
    for row in ROWS:
        if names and not any(name in row.name for name in names):
            continue
        contestants = {name: Contestant(row, name) for name in ("usual", "ours", *["faster"] * bool(row.faster))}
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(turns):
            for name, contestant in contestants.items():
                seconds[name].append(contestant.turn())
        for contestant in contestants.values():
            contestant.end()
        ratios = [usual / ours for usual, ours in zip(seconds["usual"], seconds["ours"], strict=True)]
        faster = [usual / ours for usual, ours in zip(seconds["usual"], seconds.get("faster", []), strict=False)]
        table.add_row(
            row.name,
            str(row.steps or "an epoch"),
            f"{statistics.median(seconds['usual']):.2f}",
            f"{statistics.median(seconds['ours']):.2f}",
            *(f"{of(ratios):.2f}" for of in (statistics.median, min, max)),
            ", ".join(row.faster) or "–",
            f"{statistics.median(faster):.2f}" if faster else "–",
        )
        print(table.rows and row.name, seconds, file=sys.stderr, flush=True)
    Console(width=140).print(table)
    print(
        f"{turns} interleaved turns, {torch.get_num_threads()} threads; torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
