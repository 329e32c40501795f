"""Cross-entropy over a vocabulary, in chunks of logits if that is faster."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

CHUNK = 350
"""Rows of logits at a time on a CPU: 200 to 350 were fastest of 64 to 1400, with 10,000 words."""

LARGE = 1 << 21
"""Number of logits from which chunks are faster."""


def token_loss(decoder: nn.Linear, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of `decoder`'s logits: features (…, E), targets (…) int64 -> scalar.

    On a CPU, 1,400 × 10,000 logits take 56 MB; log-softmax, its gradient and the loss's gradient each write another
    56 MB of fresh memory. torch's chunked version keeps a few rows in the cache and computes the gradients on the way.
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
    # Autocast does not support the chunked operation, which would run in float32.
    return len(features) * decoder.out_features >= LARGE and not torch.is_autocast_enabled("cpu")
