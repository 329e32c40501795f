"""What each language model promises of its outputs, state, dropout and weights."""

from __future__ import annotations

import pytest
import torch

from epsearch.core.imports import load_object
from epsearch.registry.workloads import WORKLOADS
from epsearch.workloads.language.models import LockedDropout, gpt, lstm1, lstm2, lstm_small

MODELS = list(WORKLOADS["language"].models)
VOCABULARY, LONGEST = 50, 30


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    made: torch.nn.Module = load_object(WORKLOADS["language"].models[request.param].make)(VOCABULARY, LONGEST)
    return made


TOKENS = torch.randint(VOCABULARY, (LONGEST, 3), generator=torch.Generator().manual_seed(0))


def test_the_decoder_shares_the_embedding_s_weight(model: torch.nn.Module) -> None:
    assert model.decoder.weight is model.embedding.weight
    assert sum(parameter is model.embedding.weight for parameter in model.parameters()) == 1


def test_outputs_are_causal(model: torch.nn.Module) -> None:
    """Later tokens do not change earlier outputs; earlier tokens change later ones."""
    model.eval()
    changed = TOKENS.clone()
    changed[20] = (changed[20] + 1) % VOCABULARY
    before, after = model(TOKENS, None)[0], model(changed, None)[0]
    torch.testing.assert_close(before[:20], after[:20])
    assert (before[20:] != after[20:]).any(dim=2).all()


def test_streams_do_not_mix(model: torch.nn.Module) -> None:
    model.eval()
    torch.testing.assert_close(model(TOKENS, None)[0][:, 1:2], model(TOKENS[:, 1:2], None)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [lstm1, lstm2, lstm_small])
def test_a_state_carries_on_where_it_was(make) -> None:  # type: ignore[no-untyped-def]
    """Two pieces with the state between them are one piece."""
    model = make(VOCABULARY, LONGEST).eval()
    first, state = model(TOKENS[:13], None)
    second, _ = model(TOKENS[13:], state)
    torch.testing.assert_close(torch.cat([first, second]), model(TOKENS, None)[0], atol=1e-5, rtol=1e-4)


def test_the_paper_s_sizes() -> None:
    """Without the vocabulary's part: one layer of 400 -> 400; two of 400 -> 1150 -> 400."""

    def size(model: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in model.parameters()) - 401 * VOCABULARY

    assert size(lstm1(VOCABULARY, LONGEST)) == 4 * 400 * (400 + 400 + 2)
    assert size(lstm2(VOCABULARY, LONGEST)) == 4 * 1150 * (400 + 1150 + 2) + 4 * 400 * (1150 + 400 + 2)
    assert lstm1(VOCABULARY, LONGEST).embedding.weight.abs().max() <= 0.1


def test_locked_dropout_is_the_same_at_all_steps() -> None:
    dropout = LockedDropout(0.25)
    dropped = dropout(torch.ones(7, 40, 50))
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    kept = dropped[0] != 0
    assert 0.7 < kept.double().mean() < 0.8
    assert not torch.equal(kept[0], kept[1])
    torch.testing.assert_close(dropped[0][kept], torch.full((int(kept.sum()),), 1 / 0.75))
    assert torch.equal(dropout.eval()(torch.ones(2, 2, 2)), torch.ones(2, 2, 2))


def test_gpt_begins_as_gpt2_does() -> None:
    model = gpt(VOCABULARY, LONGEST)
    assert model.positions.weight.shape == (LONGEST, 128)
    assert model.blocks[0].mlp_in.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.blocks[3].mlp_out.weight.std().item() == pytest.approx(0.02 / 8**0.5, rel=0.05)
    assert model.blocks[2].attention_in.bias.abs().max() == 0
