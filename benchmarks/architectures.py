"""Probe networks that have tensors of rounding noise, built from their configurations, on random but learnable data.

BERT and GPT-2 from transformers, a ViT from torchvision, and convolutions with a bias before BatchNorm: 20 steps of
Adam at lr 1e-3, in float32 on one core. Text is a random walk with three successors per token, images are noise around
one mean per class.

    python benchmarks/architectures.py    # writes the table of docs/probe.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from reproduction import ROOT, write
from torch import nn

import epsearch
from epsearch.core.numbers import label
from epsearch.records.epsilon import EpsilonRange
from epsearch.records.outliers import explain_ranges

PAGE = ROOT / "docs" / "probe.md"

STEPS, BATCH = 20, 16
VOCABULARY, LENGTH = 500, 32
HEADS = 4


class Training(NamedTuple):
    """What `epsearch.probe` takes."""

    model: nn.Module
    batches: list[Any]
    loss: Callable[[nn.Module, Any], torch.Tensor]


def text() -> list[torch.Tensor]:
    """Random walks over the vocabulary."""
    successors = torch.randint(VOCABULARY, (VOCABULARY, 3))
    tokens = [torch.randint(VOCABULARY, (STEPS * BATCH,))]
    for _ in range(LENGTH - 1):
        tokens.append(successors[tokens[-1], torch.randint(3, (STEPS * BATCH,))])
    return list(torch.stack(tokens, dim=1).split(BATCH))


def images(size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Noise around the mean of one of ten classes."""
    means, labels = torch.randn(10, 3, size, size), torch.randint(10, (STEPS * BATCH,))
    pixels = means[labels] / 2 + torch.randn(STEPS * BATCH, 3, size, size)
    return list(zip(pixels.split(BATCH), labels.split(BATCH), strict=True))


def classified(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def bert(layers: int, width: int) -> Training:
    """Masked language modelling: 15 % of the tokens are replaced by a mask and predicted."""
    from transformers import BertConfig, BertForMaskedLM

    def loss(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        masked = torch.rand(tokens.shape) < 0.15
        found: torch.Tensor = model(
            input_ids=tokens.masked_fill(masked, VOCABULARY), labels=tokens.masked_fill(~masked, -100)
        ).loss
        return found

    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
    config = BertConfig(vocab_size=VOCABULARY + 1, max_position_embeddings=LENGTH, num_attention_heads=HEADS, **sizes)
    return Training(BertForMaskedLM(config), text(), loss)


def gpt2(layers: int, width: int) -> Training:
    """Language modelling."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=LENGTH,
        n_layer=layers,
        n_embd=width,
        n_head=HEADS,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Training(GPT2LMHeadModel(config), text(), lambda model, tokens: model(input_ids=tokens, labels=tokens).loss)


def vit(layers: int, width: int) -> Training:
    """Classification of 32 × 32 pixels in patches of 8 × 8."""
    from torchvision.models import VisionTransformer

    model = VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=layers,
        num_heads=HEADS,
        hidden_dim=width,
        mlp_dim=4 * width,
        num_classes=10,
    )
    return Training(model, images(32), classified)


def convolutions(layers: int, width: int) -> Training:
    """Classification by convolutions with a bias, each followed by BatchNorm."""
    blocks = [
        nn.Sequential(nn.Conv2d(width if depth else 3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        for depth in range(layers)
    ]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return Training(nn.Sequential(*blocks, head), images(16), classified)


NETWORKS: dict[str, Callable[[int, int], Training]] = {
    "BERT": bert,
    "GPT-2": gpt2,
    "ViT": vit,
    "convolutions": convolutions,
}

SIZES = {name: [(2, 256), (4, 256), (2, 768)] for name in ("BERT", "GPT-2", "ViT")} | {
    "convolutions": [(2, 32), (4, 64)]
}
"""Layers and width."""


def probed(name: str, layers: int, width: int) -> epsearch.ProbeResult:
    """Probe a network for one short epoch."""
    torch.manual_seed(0)
    training = NETWORKS[name](layers, width)
    return epsearch.probe(*training, torch.optim.Adam(training.model.parameters()), restore=False)


def table() -> str:
    """A row per network and size."""
    lines = ["| network | layers × width | pooled | the paper's | its lower end comes from |", "|---|---|---|---|---|"]
    for name, sizes in SIZES.items():
        for layers, width in sizes:
            result = probed(name, layers, width)
            source = explain_ranges(result).partition(" comes from ")[2].partition(" (")[0].replace("*", "\\*")
            cells = [name, f"{layers} × {width}", _reach(result.pooled_range), _reach(result.paper_range), source]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def _reach(found: EpsilonRange) -> str:
    return f"{label('eps', found.lower)} to {label('eps', found.upper)} ({len(found.grid())})"


def main() -> None:
    torch.set_num_threads(1)
    PAGE.write_text(write(PAGE.read_text(), {"architectures": table()}))


if __name__ == "__main__":
    main()
