"""Language modelling: pieces that follow one another in each stream, and a state that goes with them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from epsearch.core.errors import UserError
from epsearch.registry.workloads import WORKLOADS
from epsearch.study.config import StudyConfig
from epsearch.training.precision import autocast
from epsearch.training.seeding import seed_all
from epsearch.workloads import create_workload
from epsearch.workloads.language.workload import LanguageWorkload, TextBatch, piece_length, streams
from tests.workloads.real_data import skip_if_not_there

CPU = torch.device("cpu")
SMALL = ["lstm_small", "gpt"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a trial has; more are slower where other processes are at work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(batch_size: int = 8, **section: object) -> LanguageWorkload:
    """A language workload: Python's sources unless said otherwise; skips where data cannot be had."""
    config = StudyConfig.model_validate(
        {
            "name": "test",
            "workload": {"name": "language", "dataset": "python_stdlib", "model": "lstm_small", **section},
            "training": {"batch_size": batch_size},
        }
    )
    skip_if_not_there(config.workload.dataset or "")
    return create_workload(config, CPU)  # type: ignore[return-value]


@pytest.fixture
def short(tmp_path: Path) -> dict[str, object]:
    """A text of 2,000 characters: the section's keys."""
    (tmp_path / "short.txt").write_text("".join(chr(97 + index * index % 26) for index in range(2000)))
    return {"dataset": "text", "path": str(tmp_path / "short.txt")}


class TestBatches:
    def test_streams_are_the_text_cut_in_equal_parts(self) -> None:
        assert streams(torch.arange(11), 3).tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]

    def test_each_batch_goes_on_where_the_one_before_ended(self, short: dict[str, object]) -> None:
        """Put together again, the tokens of a column are its part of the text, and the targets one later."""
        workload = make(4, **short)
        batches = list(workload.train_batches(0))
        whole = Path(str(short["path"])).read_text()[:1800]
        alphabet = sorted(set(whole))
        tokens, targets = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
        for column in range(4):
            part = whole[column * 450 : (column + 1) * 450]
            assert "".join(alphabet[token] for token in tokens[:, column]) == part[:-1]
            assert "".join(alphabet[token] for token in targets[:, column]) == part[1:]
        assert [batch.fresh for batch in batches] == [True] + [False] * (len(batches) - 1)

    def test_lengths_vary_around_bptt(self) -> None:
        generator = torch.Generator().manual_seed(0)
        lengths = torch.tensor([piece_length(70, generator) for _ in range(2000)])
        halves = lengths < 52
        assert 0.03 < halves.double().mean() < 0.07
        assert lengths[~halves].double().mean().item() == pytest.approx(70, abs=1)
        assert lengths[halves].double().mean().item() == pytest.approx(35, abs=2)
        assert lengths[~halves].double().std().item() == pytest.approx(5, abs=0.5)
        assert {piece_length(6, generator) for _ in range(2000)} <= set(range(5, 27))

    def test_same_batches_for_a_seed_whatever_is_drawn_between(self) -> None:
        workload = make()
        seen = []
        for noise in (0, 100):
            seed_all(3, 1)
            batches = []
            for batch in itertools.islice(workload.train_batches(1), 20):
                torch.rand(noise)
                batches.append(batch)
            seen.append(batches)
        for first, second in zip(*seen, strict=True):
            assert torch.equal(first.tokens, second.tokens)
        seed_all(3, 2)
        other = list(itertools.islice(workload.train_batches(2), 20))
        assert [len(batch.tokens) for batch in other] != [len(batch.tokens) for batch in seen[0]]

    def test_a_stream_of_one(self, short: dict[str, object]) -> None:
        workload = make(1, **short)
        batch = next(iter(workload.train_batches(0)))
        assert batch.tokens.shape[1] == 1
        assert torch.isfinite(workload.loss(workload.model(), batch))

    def test_too_many_streams_for_the_text(self, short: dict[str, object]) -> None:
        assert len(next(iter(make(300, **short).train_batches(0))).tokens) == 5
        with pytest.raises(UserError, match=r"training.batch_size: a batch of 301 streams needs at least 1,806 tokens"):
            make(301, **short)

    def test_a_share_for_validation_is_the_end_of_the_training_part(self, short: dict[str, object]) -> None:
        part = torch.cat([batch.targets for batch in make(1, **short).train_batches(0)])
        rest = torch.cat([batch.targets for batch in make(1, **short, validation=0.25).train_batches(0)])
        assert torch.equal(rest, part[: 1800 * 3 // 4 - 1])
        with pytest.raises(UserError, match=r"workload.validation: 0.01 of text is 18 tokens; at least 20"):
            make(1, **short, validation=0.01)


class TestState:
    def test_it_is_carried_detached_and_begun_anew(self, short: dict[str, object]) -> None:
        """The loss of each piece is that of a loop written out by hand.

        In float64: an untrained model's state changes its loss by little, and rounding must change it by less.
        """
        workload = make(**short, bptt=20)
        seed_all(0)
        model = workload.model().double().eval()
        state = None
        batches = list(itertools.islice(workload.train_batches(0), 3))
        for batch in [*batches, *batches]:
            if batch.fresh:
                state = None
            features, state = model(batch.tokens, state)
            expected = F.cross_entropy(model.decoder(features).flatten(0, 1), batch.targets.flatten())
            found = workload.loss(model, batch)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
            # Twice backward through the same piece would fail, were the state not detached.
            found.backward()
            state = [tuple(part.detach() for part in layer) for layer in state]
        alone = F.cross_entropy(model.decoder(model(batch.tokens, None)[0]).flatten(0, 1), batch.targets.flatten())
        assert (found - alone).abs() > 1e-8 * found, "the state that was carried counts"

    def test_each_model_has_its_own_and_evaluation_none_of_them(self, short: dict[str, object]) -> None:
        """Two models in lockstep, evaluated in between, lose what each loses alone."""
        workload = make(**short)
        torch.manual_seed(0)
        models = [workload.model().eval() for _ in range(2)]
        batches = list(itertools.islice(workload.train_batches(0), 3))
        alone = [[workload.loss(model, batch).item() for batch in batches] for model in models]
        together: list[list[float]] = [[], []]
        for batch in batches:
            for losses, model in zip(together, models, strict=True):
                losses.append(workload.loss(model, batch).item())
                with torch.no_grad():
                    workload.evaluate(model)
        assert together == alone
        assert alone[0] != alone[1]

    def test_it_goes_with_its_model(self) -> None:
        workload = make()
        model = workload.model()
        workload.loss(model, next(iter(workload.train_batches(0))))
        assert len(workload._states) == 1
        del model
        assert len(workload._states) == 0


class TestEvaluation:
    @pytest.mark.parametrize("validation", [None, "own"])
    def test_perplexity_is_the_slow_twin_s(self, short: dict[str, object], validation: str | None) -> None:
        """Ten streams of ten characters, one at a time, one character at a time."""
        workload = make(**short, bptt=6, validation=validation)
        model = workload.model().eval()
        text = Path(str(short["path"])).read_text()
        part = text[1900:] if validation is None else text[1800:1900]
        alphabet = sorted(set(text[:1800]))
        losses = []
        for column in range(10):
            tokens = [alphabet.index(character) for character in part[column * 10 : column * 10 + 10]]
            state = None
            for token, following in itertools.pairwise(tokens):
                features, state = model(torch.tensor([[token]]), state)
                losses.append(-torch.log_softmax(model.decoder(features[0, 0]), 0)[following].item())
        metrics = workload.evaluate(model)
        assert list(metrics) == list(WORKLOADS["language"].reports)
        assert metrics["loss"] == pytest.approx(sum(losses) / 90, rel=1e-5)
        assert metrics["perplexity"] == pytest.approx(math.exp(sum(losses) / 90), rel=1e-4)

    def test_a_loss_without_bounds_is_infinite_perplexity(self, short: dict[str, object]) -> None:
        workload = make(**short)
        model = workload.model().eval()
        with torch.no_grad():
            model.decoder.bias[:] = torch.arange(len(model.decoder.bias)) * 1e4
            assert workload.evaluate(model)["perplexity"] == math.inf
            model.decoder.bias[:] = math.nan
            assert math.isnan(workload.evaluate(model)["perplexity"])

    @torch.no_grad()
    def test_an_untrained_model_knows_nothing(self) -> None:
        """Its perplexity is about the number of words."""
        workload = make(20, dataset="ptb", model="lstm1", validation="own")
        # 3,000 of the 73,760 words.
        workload._judged = workload._judged[:300]
        seed_all(0)
        assert workload.evaluate(workload.model().eval())["perplexity"] == pytest.approx(10_000, rel=0.05)


class TestTraining:
    @pytest.mark.parametrize(
        ("model", "dtype"),
        [("lstm1", torch.float32), *itertools.product(SMALL, [torch.float32, torch.float64])],
    )
    def test_the_loss_goes_down(self, short: dict[str, object], model: str, dtype: torch.dtype) -> None:
        torch.set_default_dtype(dtype)
        try:
            workload = make(2, **short, model=model, bptt=20)
            seed_all(0)
            network = workload.model()
            optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
            losses = []
            epochs = itertools.chain.from_iterable(workload.train_batches(epoch) for epoch in range(3))
            for batch in itertools.islice(epochs, 30):
                optimizer.zero_grad()
                loss = workload.loss(network, batch)
                assert loss.dtype == dtype
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
        finally:
            torch.set_default_dtype(torch.float32)

    def test_words_of_penn_treebank_are_learned(self) -> None:
        """The large vocabulary: five batches of the paper's first model."""
        workload = make(20, dataset="ptb", model="lstm1", bptt=35)
        seed_all(0)
        model = workload.model()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        losses = []
        for batch in itertools.islice(workload.train_batches(0), 5):
            optimizer.zero_grad()
            loss = workload.loss(model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(math.log(10_000), abs=0.05)
        assert losses[-1] < losses[0] - 0.2

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    @pytest.mark.parametrize("model", SMALL)
    def test_in_half_precision(self, short: dict[str, object], model: str, precision: str) -> None:
        """Products are of 16 bits then, weights and their gradients float32; on a CPU without AVX-512 too."""
        workload = make(4, **short, model=model)
        network = workload.model()
        for batch in itertools.islice(workload.train_batches(0), 2):
            with autocast(precision, CPU):
                loss = workload.loss(network, batch)
            assert loss.dtype == torch.float32
            loss.backward()
        assert all(parameter.grad.dtype == torch.float32 for parameter in network.parameters())
        with autocast(precision, CPU), torch.no_grad():
            assert math.isfinite(workload.evaluate(network.eval())["loss"])

    def test_a_batch_stays_one_when_it_is_moved(self) -> None:
        from epsearch.training.loop import to_device

        batch = TextBatch(torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64), fresh=True)
        moved = to_device(batch, CPU)
        assert isinstance(moved, TextBatch)
        assert moved.fresh is True
