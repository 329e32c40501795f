"""Models that predict the next token. Each takes the size of the vocabulary and of the longest piece of text.

Notation: T time steps, B streams of text, E features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from epsearch.workloads.language.gpt import GPT

State = list[tuple[torch.Tensor, ...]]
"""The state a model carries from one piece of text to the next: a tuple of tensors per layer."""


class LockedDropout(nn.Module):
    """Dropout with one mask for all time steps (Gal & Ghahramani, arXiv:1512.05287): (T, B, E) -> same."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Keep and scale each feature of each stream at all time steps, or drop it at all."""
        if not self.training or self.p == 0:
            return features
        mask = torch.empty_like(features[:1]).bernoulli_(1 - self.p).div_(1 - self.p)
        return features * mask


class LSTM(nn.Module):
    """A stack of LSTM layers; `decoder` shares its weight with the embedding.

    `widths` are the widths of the embedding and of each layer; the last layer is as wide as the embedding. `dropouts`
    apply to the embedded tokens, between layers, and to the output.
    """

    def __init__(self, vocabulary: int, widths: Sequence[int], dropouts: tuple[float, float, float]) -> None:
        super().__init__()
        between = len(widths) - 2
        self.embedding = nn.Embedding(vocabulary, widths[0])
        self.layers = nn.ModuleList(nn.LSTM(*sizes) for sizes in itertools.pairwise(widths))
        self.decoder = nn.Linear(widths[-1], vocabulary)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        self.decoder.weight = self.embedding.weight
        self.input_dropout = LockedDropout(dropouts[0])
        self.dropouts = nn.ModuleList(map(LockedDropout, (*(dropouts[1],) * between, dropouts[2])))

    def forward(self, tokens: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """(T, B) tokens -> (T, B, E) features for `decoder`, and a list of each layer's (h, c)."""
        features = self.input_dropout(self.embedding(tokens))
        new_state: State = []
        for index, (layer, dropout) in enumerate(zip(self.layers, self.dropouts, strict=True)):
            features, new = layer(features, state[index] if state else None)
            features = dropout(features)
            new_state.append(new)
        return features, new_state


def lstm1(vocabulary: int, longest: int) -> nn.Module:
    """One layer of 400, with the settings of AdaBelief's experiments (arXiv:2010.07468), which follow AWD-LSTM.

    Locked dropout is 0.4 on the embedded tokens, 0.25 between layers and 0.4 on the output. Their code
    (arXiv:1708.02182) also has: weight drop 0.5, embedding dropout 0.1, penalties on activations (2) and on their
    changes (1), and lr proportional to the length of each piece.
    """
    return LSTM(vocabulary, (400, 400), (0.4, 0.25, 0.4))


def lstm2(vocabulary: int, longest: int) -> nn.Module:
    """`lstm1` with two layers, of 1150 and 400."""
    return LSTM(vocabulary, (400, 1150, 400), (0.4, 0.25, 0.4))


def lstm_small(vocabulary: int, longest: int) -> nn.Module:
    """One layer of 128 with dropout 0.1, for character-level models and CPUs."""
    return LSTM(vocabulary, (128, 128), (0.1, 0.1, 0.1))


def gpt(vocabulary: int, longest: int) -> nn.Module:
    """A small GPT-2-like transformer: 4 blocks of 128 features and 4 heads, dropout 0.1."""
    return GPT(vocabulary, longest, blocks=4, width=128, heads=4, dropout=0.1)
