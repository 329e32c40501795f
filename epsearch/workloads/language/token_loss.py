"""Cross-entropy over a vocabulary, without holding all the logits where that is faster."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

CHUNK = 350
"""Rows of logits at a time on a CPU: of 64 to 1400, with 10,000 words, 200 to 350 were fastest."""

LARGE = 1 << 21
"""Logits from which chunks pay."""


def token_loss(decoder: nn.Linear, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of `decoder`'s logits: features (…, E), targets (…) int64 -> scalar.

    On a CPU 1,400 × 10,000 logits are 56 MB, of which each of log-softmax, its gradient and the loss's writes another
    56 MB of fresh memory; torch's chunked twin keeps a few in its cache and makes the gradients on the way.
    """
    features, targets = features.flatten(0, -2), targets.flatten()
    if _chunks_pay(decoder, features):
        options = nn.LinearCrossEntropyOptions(batch_chunk_size=CHUNK)
        loss: torch.Tensor = F.linear_cross_entropy(
            features, decoder.weight, targets, linear_bias=decoder.bias, options=options
        )
        return loss
    return F.cross_entropy(decoder(features), targets)


def _chunks_pay(decoder: nn.Linear, features: torch.Tensor) -> bool:
    if not hasattr(nn, "LinearCrossEntropyOptions") or features.device.type != "cpu":
        return False
    # Autocast does not know the chunked operation, which would run in float32.
    return len(features) * decoder.out_features >= LARGE and not torch.is_autocast_enabled("cpu")
