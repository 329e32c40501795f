"""Language modelling: streams of text read side by side in pieces, the hidden state carried from piece to piece."""

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
"""Steps through time of a piece of text, unless the study says."""

LONGER = 20
"""How far the length of a piece may exceed `bptt`."""

SHORTEST = 5
"""Steps of the shortest piece that is drawn."""

EVALUATION_STREAMS = 10


class TextBatch(NamedTuple):
    """A piece of each stream: tokens and the ones that follow them, (T, B); `fresh`: nothing comes before it."""

    tokens: torch.Tensor
    targets: torch.Tensor
    fresh: bool


class LanguageWorkload:
    """Predicts the next token; reports `perplexity` (e to the loss) and `loss` (mean cross-entropy) on the test part.

    Raises:
        UserError: the dataset is not there, or the text is too short for the batch size.
    """

    def __init__(self, config: StudyConfig, device: torch.device) -> None:
        section, batch_size = config.workload, config.training.batch_size
        data: TextData = load_dataset(config).to(device)
        train, judged = _parts(data, section.validation)
        needed = batch_size * (SHORTEST + 1)
        if len(train) < needed:
            raise UserError(
                f"{config.where('training.batch_size')}: {batch_size} texts side by side need {needed:,} tokens at "
                f"least, and {section.dataset} has {len(train):,} for training; lower it."
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
        """The network for the data's vocabulary and the longest piece there can be."""
        return self._make_model(self._vocabulary, self._bptt + LONGER)

    def train_batches(self, epoch: int) -> Iterator[TextBatch]:
        """The streams from their beginning to their end, each batch where the one before ended."""
        # A generator of its own: what the model draws (dropout) must not change the lengths.
        generator = torch.Generator().manual_seed(torch.initial_seed())
        start, end = 0, len(self._train) - 1
        while start < end:
            stop = min(start + piece_length(self._bptt, generator), end)
            yield TextBatch(self._train[start:stop], self._train[start + 1 : stop + 1], fresh=start == 0)
            start = stop

    def loss(self, model: nn.Module, batch: TextBatch) -> torch.Tensor:
        """Mean cross-entropy of a token; the gradient reaches back to the beginning of the piece."""
        # Kept for each model: several are trained in turn on the same batches, and evaluated in between.
        features, state = model(batch.tokens, None if batch.fresh else self._states.get(model))
        self._states[model] = state and [tuple(part.detach() for part in layer) for layer in state]
        return token_loss(cast(nn.Linear, model.decoder), features, batch.targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Perplexity and loss over the part in ten streams, each in pieces of `bptt`.

        Left out are the tokens that do not fill the streams, at most nine, and the first of each, which nothing
        precedes. A model without a state sees no further back than the piece.
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
        # torch's exp is infinite where math's would raise.
        return {"perplexity": loss.exp().item(), "loss": loss.item()}


def streams(tokens: torch.Tensor, count: int) -> torch.Tensor:
    """A text (N,) cut into `count` streams side by side: (N // count, count), the few tokens left over dropped."""
    length = len(tokens) // count
    return tokens[: length * count].view(count, length).t().contiguous()


def piece_length(bptt: int, generator: torch.Generator) -> int:
    """Steps of the next piece, as in AWD-LSTM (arXiv:1708.02182): around `bptt`, one time in 20 around half of it.

    So that the pieces of an epoch begin at other tokens than those of the epoch before.
    """
    mean = bptt if torch.rand((), generator=generator).item() < 0.95 else bptt / 2
    length = int(mean + 5 * torch.randn((), generator=generator).item())
    return min(max(SHORTEST, length), bptt + LONGER)


def _parts(data: TextData, validation: float | str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """What to train on, and what trials are judged by."""
    if validation is None:
        return data.train, data.test
    if isinstance(validation, str):
        return data.train, data.validation
    held_out = int(validation * len(data.train))
    return data.train[: len(data.train) - held_out], data.train[len(data.train) - held_out :]
