"""A decoder-only transformer like GPT-2 (Radford et al., 2019); see `models.gpt` for its size.

Notation: T time steps, B streams of text, E features.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

INITIAL_STD = 0.02


class GPT(nn.Module):
    """Pre-norm blocks with learned positions; `decoder` shares its weight with the embedding of tokens."""

    def __init__(self, vocabulary: int, longest: int, *, blocks: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(longest, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.decoder = nn.Linear(width, vocabulary, bias=False)
        self.decoder.weight = self.embedding.weight
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name, weight in self.named_parameters():
            # Each block adds to the residual stream twice; this scale keeps its variance independent of depth.
            if name.endswith("_out.weight"):
                nn.init.normal_(weight, std=INITIAL_STD / math.sqrt(2 * blocks))

    def forward(self, tokens: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        """(T, B) tokens, T at most `longest` -> (T, B, E) features for `decoder`, and no state."""
        features = self.embedding(tokens.t()) + self.positions.weight[: len(tokens)]
        features = self.dropout(features)
        for block in self.blocks:
            features = block(features)
        return self.norm(features).transpose(0, 1), None


class _Block(nn.Module):
    """Causal self-attention, then an MLP four times as wide, each with a residual connection: (B, T, E) -> same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention_in, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp_in, self.mlp_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        features = features + self.dropout(self._attention(self.attention_norm(features)))
        hidden = F.gelu(self.mlp_in(self.mlp_norm(features)))
        mixed: torch.Tensor = features + self.dropout(self.mlp_out(hidden))
        return mixed

    def _attention(self, features: torch.Tensor) -> torch.Tensor:
        # (B, T, 3 E) -> three times (B, heads, T, E / heads)
        query, key, value = self.attention_in(features).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # No dropout inside the attention: a CPU has no fused kernel for it, and a step would take a fifth longer.
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed: torch.Tensor = self.attention_out(attended.transpose(1, 2).flatten(2))
        return mixed
