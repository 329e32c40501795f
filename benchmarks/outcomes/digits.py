"""Three small networks of current kinds on scikit-learn's handwritten digits: 1 × 8 × 8 images, 10 classes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from epsearch.study.file import load_study
from epsearch.workloads.vision.workload import VisionWorkload

QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"


class Digits(VisionWorkload):
    """The quickstart's data in batches of 64; reports the loss on the test images."""

    def __init__(self) -> None:
        super().__init__(load_study(QUICKSTART, ["training.batch_size=64"]), torch.device("cpu"))


class DigitsViT(Digits):
    """A vision transformer: 16 tokens of 2 × 2 pixels, two pre-norm blocks of 32 features and 4 heads."""

    def model(self) -> nn.Module:
        """A network with 18,000 weights."""
        return ViT()


class DigitsBatchNorm(Digits):
    """Three 3 × 3 convolutions with biases, each with BatchNorm and ReLU, and a linear layer."""

    def model(self) -> nn.Module:
        """A network with 7,000 weights."""
        return nn.Sequential(
            *_convolution(1, 8),
            nn.MaxPool2d(2),
            *_convolution(8, 16),
            nn.MaxPool2d(2),
            *_convolution(16, 32),
            nn.Flatten(),
            nn.Linear(32 * 2 * 2, 10),
        )


class DigitsGRU(Digits):
    """A GRU that reads an image row by row."""

    def model(self) -> nn.Module:
        """A network with 4,000 weights."""
        return GRU()


class ViT(nn.Module):
    """(B, 1, 8, 8) images -> (B, 10) logits, from the mean over tokens."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=2, stride=2)
        self.positions = nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(2)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: torch.Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


class GRU(nn.Module):
    """(B, 1, 8, 8) images -> (B, 10) logits, from the state after the last row."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.rows = nn.GRU(8, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        _, state = self.rows(images.squeeze(1))
        logits: torch.Tensor = self.head(state.squeeze(0))
        return logits


def _convolution(before: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
