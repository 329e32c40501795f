"""Measure the cost of the probe: an epoch of `epsearch.probe` compared with the same epoch in a plain loop.

Both train the same network from the same weights on the same batches and alternate after every step, so that other work
on the machine affects both alike; the ratio is taken epoch by epoch. Epochs of the larger networks are cut short, which
makes the probe look more expensive than it is. Reading ẑ, and the copy of model and optimizer that `probe` takes and
restores (unless `restore=False`), are also measured separately.

    python benchmarks/probe_cost.py [EPOCHS] [NETWORK ...]

Data is read from EPSEARCH_DATA: `FashionMNIST/` (downloaded by torchvision), `cifar10/train/` with a folder of images
per class, `ptb/ptb.train.txt`. Missing data is replaced by random data of the same shape, as the table shows.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

import epsearch
from epsearch.probing.snapshot import Snapshot
from epsearch.workloads.data_folder import data_folder
from epsearch.workloads.vision.data import fashion_mnist
from epsearch.workloads.vision.small_models import mlp

BATCH = 128
VGG_STEPS = 8
LSTM_STEPS, LSTM_BATCH, BPTT, LSTM_SIZE, VOCABULARY = 12, 20, 70, 400, 10_000


class Network(NamedTuple):
    """`name` gives the part of an epoch and the data; `clip` is the maximum gradient norm."""

    name: str
    build: Callable[[], nn.Module]
    batches: Sequence[Any]
    loss_fn: Callable[[nn.Module, Any], torch.Tensor]
    clip: float | None = None


def classification(model: nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def fashion_mnist_mlp() -> Network:
    data = fashion_mnist()
    images = data.normalize(data.train_images)
    batches = list(zip(images.split(BATCH), data.train_labels.split(BATCH), strict=True))
    return Network(
        f"Fashion-MNIST MLP, whole epoch of {len(batches)} steps",
        lambda: mlp(data.shape, data.classes),
        batches,
        classification,
    )


def cifar10_vgg11() -> Network:
    folder, count = data_folder() / "cifar10" / "train", VGG_STEPS * BATCH
    if folder.is_dir():
        files = torchvision.datasets.ImageFolder(str(folder)).samples
        chosen = [files[i] for i in torch.randperm(len(files), generator=torch.Generator().manual_seed(0))[:count]]
        read = [torchvision.io.decode_image(path) for path, _ in chosen]
        images = (torch.stack(read).float() / 255 - 0.473) / 0.251
        labels, source = torch.tensor([label for _, label in chosen]), "real images"
    else:
        images, labels = torch.randn(count, 3, 32, 32), torch.randint(0, 10, (count,))
        source = "random images"

    def build() -> nn.Module:
        features = torchvision.models.vgg11().features
        return nn.Sequential(features, nn.Flatten(), nn.Linear(512, 10))

    batches = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    return Network(f"CIFAR-10 VGG11, {len(batches)} of 391 steps, {source}", build, batches, classification)


class LanguageModel(nn.Module):
    """One LSTM layer, the embedding tied to the output; the state carries over from batch to batch."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, LSTM_SIZE)
        self.lstm = nn.LSTM(LSTM_SIZE, LSTM_SIZE)
        self.decoder = nn.Linear(LSTM_SIZE, VOCABULARY)
        self.decoder.weight = self.embedding.weight
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.state: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, (h, c) = self.lstm(self.embedding(tokens), self.state)
        self.state = h.detach(), c.detach()
        logits: torch.Tensor = self.decoder(hidden)
        return logits


def ptb_lstm() -> Network:
    file = data_folder() / "ptb" / "ptb.train.txt"
    if file.is_file():
        words = file.read_text().replace("\n", " <eos> ").split()
        numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
        tokens, source = torch.tensor([numbers[word] for word in words]), "real text"
    else:
        tokens, source = torch.randint(0, VOCABULARY, (929_589,)), "random text"
    columns = tokens[: len(tokens) // LSTM_BATCH * LSTM_BATCH].view(LSTM_BATCH, -1).t().contiguous()
    steps = range(0, LSTM_STEPS * BPTT, BPTT)
    batches = [(columns[i : i + BPTT], columns[i + 1 : i + 1 + BPTT].flatten()) for i in steps]

    def loss_fn(model: nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        tokens, following = batch
        return F.cross_entropy(model(tokens).flatten(0, 1), following)

    name = f"PTB LSTM, {len(batches)} of {-(-(len(columns) - 1) // BPTT)} steps, {source}"
    return Network(name, LanguageModel, batches, loss_fn, clip=0.25)


NETWORKS = {"mlp": fashion_mnist_mlp, "vgg11": cifar10_vgg11, "lstm": ptb_lstm}


def start(network: Network) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = network.build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def clip(*_: object) -> None:
        if network.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), network.clip)

    optimizer.register_step_pre_hook(clip)
    return model, optimizer


def side_by_side(network: Network) -> tuple[float, float, float, float]:
    """Seconds for an epoch in a plain loop; for the probe; for reading ẑ once more; for copying and restoring."""
    (own_model, own_optimizer), (model, optimizer) = start(network), start(network)
    own_model.train()
    own = 0.0

    def batches() -> Iterator[Any]:
        nonlocal own
        for step, batch in enumerate(network.batches):
            # A different batch, so that neither finds in the cache what the other has just read.
            other = network.batches[step - len(network.batches) // 2]
            began = time.perf_counter()
            own_optimizer.zero_grad()
            network.loss_fn(own_model, other).backward()  # type: ignore[no-untyped-call]
            own_optimizer.step()
            own += time.perf_counter() - began
            yield batch

    began = time.perf_counter()
    epsearch.probe(model, batches(), network.loss_fn, optimizer, restore=False)
    trained = time.perf_counter()
    epsearch.measure(optimizer, model)
    read = time.perf_counter()
    # With a full state: when `probe` copies it, before the first step, it is empty.
    Snapshot(model, optimizer).restore()
    return own, trained - began - own, read - trained, time.perf_counter() - read


def compare(network: Network, pairs: int) -> list[str]:
    measured = [side_by_side(network) for _ in range(pairs + 1)][1:]
    ratios = [probe / own for own, probe, _, _ in measured]
    seconds = [statistics.median(column) for column in zip(*measured, strict=True)]
    spread = (statistics.median(ratios), min(ratios), max(ratios))
    return [network.name, *(f"{second:.3f}" for second in seconds), *(f"{ratio:.3f}" for ratio in spread)]


def main() -> None:
    pairs, *names = sys.argv[1:] or ["7"]
    columns = ("plain loop s", "probe s", "reading s", "copy s", "probe / plain", "min", "max")
    title = f"medians over {pairs} interleaved epochs, after one to warm up"
    table = Table("network", *columns, title=title)
    for name in names or NETWORKS:
        table.add_row(*compare(NETWORKS[name](), int(pairs)))
    console = Console(width=140)
    console.print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads"
    )
    console.print(table)


if __name__ == "__main__":
    main()
