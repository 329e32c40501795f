"""Language modeling: parallel streams of text in pieces, with the hidden state carried from piece to piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn

from epsearch.core.errors import UserError
from epsearch.study.config import StudyConfig
from epsearch.workloads.create import load_dataset, model_maker
from epsearch.workloads.language.data import TextData
from epsearch.workloads.language.models import State
from epsearch.workloads.language.token_loss import token_loss

BPTT = 70
"""Default number of time steps in a piece of text."""

LONGER = 20
"""How many steps longer than `bptt` a piece may be."""

SHORTEST = 5
"""Time steps of the shortest piece."""

EVALUATION_STREAMS = 10


class TextBatch(NamedTuple):
    """A piece of each stream: tokens and the next tokens, (T, B). `fresh` marks the start of the streams."""

    tokens: torch.Tensor
    targets: torch.Tensor
    fresh: bool


class LanguageWorkload:
    """Predicts the next token; reports `perplexity` (e to the loss) and `loss` (mean cross-entropy) on the test part.

    Raises:
        UserError: the dataset is missing, or the text is too short for the batch size.
    """

    def __init__(self, config: StudyConfig, device: torch.device) -> None:
        section, batch_size = config.workload, config.training.batch_size
        data: TextData = load_dataset(config).to(device)
        train, judged = _parts(data, section.validation)
        needed = batch_size * (SHORTEST + 1)
        if len(train) < needed:
            raise UserError(
                f"{config.where('training.batch_size')}: a batch of {batch_size} streams needs at least {needed:,} "
                f"tokens, but {section.dataset} has {len(train):,} for training; use a smaller batch_size."
            )
        if len(judged) < 2 * EVALUATION_STREAMS:
            raise UserError(
                f"{config.where('workload.validation')}: {section.validation:g} of {section.dataset} is {len(judged)} "
                f"tokens; at least {2 * EVALUATION_STREAMS} are needed."
            )
        self._train, self._judged = streams(train, batch_size), streams(judged, EVALUATION_STREAMS)
        self._vocabulary = data.vocabulary
        self._make_model = model_maker(section)
        self._bptt = section.bptt or BPTT
        self._states: WeakKeyDictionary[nn.Module, State | None] = WeakKeyDictionary()

    def model(self) -> nn.Module:
        """Create the model for the data's vocabulary and the longest possible piece."""
        return self._make_model(self._vocabulary, self._bptt + LONGER)

    def train_batches(self, epoch: int) -> Iterator[TextBatch]:
        """The streams from start to end; each batch continues the one before."""
        # A separate generator: random numbers drawn by the model (dropout) must not change the lengths.
        generator = torch.Generator().manual_seed(torch.initial_seed())
        start, end = 0, len(self._train) - 1
        while start < end:
            stop = min(start + piece_length(self._bptt, generator), end)
            yield TextBatch(self._train[start:stop], self._train[start + 1 : stop + 1], fresh=start == 0)
            start = stop

    def loss(self, model: nn.Module, batch: TextBatch) -> torch.Tensor:
        """Mean cross-entropy per token; the gradient is truncated at the start of the piece."""
        # One state per model: several are trained in turn on the same batches, with evaluations in between.
        features, state = model(batch.tokens, None if batch.fresh else self._states.get(model))
        self._states[model] = state and [tuple(part.detach() for part in layer) for layer in state]
        return token_loss(cast(nn.Linear, model.decoder), features, batch.targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Perplexity and loss over ten streams, in pieces of `bptt`.

        Excludes the tokens that do not fill the streams (at most nine) and the first of each stream, which nothing
        precedes. A model without state sees only the current piece.
        """
        loss = torch.zeros((), device=self._judged.device, dtype=torch.float64)
        state = None
        end = len(self._judged) - 1
        for start in range(0, end, self._bptt):
            stop = min(start + self._bptt, end)
            features, state = model(self._judged[start:stop], state)
            targets = self._judged[start + 1 : stop + 1]
            loss += token_loss(cast(nn.Linear, model.decoder), features, targets) * (stop - start)
        loss /= end
        # torch's exp returns infinity where math.exp would raise.
        return {"perplexity": loss.exp().item(), "loss": loss.item()}


def streams(tokens: torch.Tensor, count: int) -> torch.Tensor:
    """Cut a text (N,) into `count` parallel streams (N // count, count), dropping the remainder."""
    length = len(tokens) // count
    return tokens[: length * count].view(count, length).t().contiguous()


def piece_length(bptt: int, generator: torch.Generator) -> int:
    """Random length of the next piece, as in AWD-LSTM (arXiv:1708.02182): around `bptt`, or half of it 1 time in 20.

    Random lengths make the pieces start at different tokens in every epoch.
    """
    mean = bptt if torch.rand((), generator=generator).item() < 0.95 else bptt / 2
    length = int(mean + 5 * torch.randn((), generator=generator).item())
    return min(max(SHORTEST, length), bptt + LONGER)


def _parts(data: TextData, validation: float | str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The training tokens and the held-out tokens."""
    if validation is None:
        return data.train, data.test
    if isinstance(validation, str):
        return data.train, data.validation
    held_out = int(validation * len(data.train))
    return data.train[: len(data.train) - held_out], data.train[len(data.train) - held_out :]
