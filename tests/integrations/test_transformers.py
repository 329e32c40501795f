"""The callback in Hugging Face's own Trainer, with a tiny GPT-2 and a tiny BERT of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from epsearch import ProbeHistory, Recorder, UserError, measure

EpsilonRecorder = pytest.importorskip("epsearch.integrations.transformers").EpsilonRecorder
transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

pytestmark = pytest.mark.filterwarnings("ignore")

TOKENS = torch.randint(0, 50, (24, 12), generator=torch.Generator().manual_seed(0))


def gpt2() -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 2}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    tokens = {"bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **dropout, **tokens))


def bert() -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "max_position_embeddings": 12, "num_labels": 2}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, **more, **dropout))


def language() -> list[dict[str, torch.Tensor]]:
    # Nothing predicts the first token: counted as a target, it would make Trainer's loss 11/12 of the model's own.
    targets = TOKENS.clone()
    targets[:, 0] = -100
    return [{"input_ids": row, "labels": target} for row, target in zip(TOKENS, targets, strict=True)]


def sentences() -> list[dict[str, Any]]:
    return [{"input_ids": row, "labels": int(row[0]) % 2} for row in TOKENS]


def optimizer(model: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-6)


def trainer(folder: Path, recorder: Any, model: Any, data: Any, *, own: Any = None, **keywords: Any) -> Any:
    settings = {
        "output_dir": str(folder / "out"),
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "train_sampling_strategy": "sequential",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_strategy": "no",
        **keywords,
    }
    arguments = transformers.TrainingArguments(**settings)
    optimizers = (own(model), None) if own else (None, None)
    return transformers.Trainer(
        model, arguments, train_dataset=data, callbacks=[recorder], optimizers=optimizers, data_collator=None
    )


def plain(model: Any, data: list[dict[str, Any]], epochs: int) -> Recorder:
    """The same steps in a custom loop."""
    adam = optimizer(model)
    recorder = Recorder(adam, model)
    model.train()
    for _ in range(epochs):
        for start in range(0, len(data), 8):
            rows = data[start : start + 8]
            batch = {key: torch.stack([torch.as_tensor(row[key]) for row in rows]) for key in rows[0]}
            adam.zero_grad()
            model(**batch).loss.backward()
            adam.step()
        recorder.record()
    return recorder


@pytest.mark.parametrize(("make", "data"), [(gpt2, language), (bert, sentences)])
def test_history_is_that_of_a_plain_loop(make: Any, data: Any, tmp_path: Path) -> None:
    recorder = EpsilonRecorder(tmp_path / "history.json")
    trainer(tmp_path, recorder, make(), data(), own=optimizer).train()
    alone = plain(make(), data(), 3)
    assert recorder.history == alone.history
    assert recorder.result == alone.result
    assert ProbeHistory.load(tmp_path / "history.json") == alone.history


def test_the_trainers_own_optimizer(tmp_path: Path) -> None:
    """AdamW, wrapped by Accelerate; of several epochs each is read."""
    recorder = EpsilonRecorder()
    with pytest.raises(UserError, match="pass this callback to a trainer"):
        _ = recorder.history
    trainer(tmp_path, recorder, gpt2(), language(), adam_epsilon=1e-7, lr_scheduler_type="linear").train()
    assert recorder.history.optimizer == "AdamW"
    assert recorder.history.eps == 1e-7
    assert [reading.epoch for reading in recorder.history.epochs] == [1, 2, 3]
    assert "transformer.wte.weight" in {layer.name for layer in recorder.result.layers}


def test_steps_may_end_within_an_epoch(tmp_path: Path) -> None:
    recorder = EpsilonRecorder()
    trainer(tmp_path, recorder, gpt2(), language(), max_steps=5).train()
    assert [reading.epoch for reading in recorder.history.epochs] == [1, 2]


def test_a_resumed_training_goes_on_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    whole = EpsilonRecorder(file)
    trainer(tmp_path, whole, gpt2(), language(), own=optimizer, save_strategy="epoch").train()
    assert len(ProbeHistory.load(file).epochs) == 3
    recorder = EpsilonRecorder(file)
    again = trainer(tmp_path, recorder, gpt2(), language(), own=optimizer)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-6"))
    assert recorder.history == whole.history


def test_an_unknown_optimizer_is_said_before_the_first_step(tmp_path: Path) -> None:
    model = gpt2()
    before = model.transformer.wte.weight.clone()
    with pytest.raises(UserError, match="cannot read the denominator term of torch"):
        trainer(tmp_path, EpsilonRecorder(), model, language(), own=lambda m: torch.optim.SGD(m.parameters())).train()
    assert torch.equal(before, model.transformer.wte.weight)


def test_measure_reads_what_accelerate_prepared() -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    model = torch.nn.Linear(4, 1)
    wrapped = accelerator.prepare(optimizer(model))
    model(torch.randn(8, 4)).square().mean().backward()
    wrapped.step()
    assert type(wrapped).__name__ == "AcceleratedOptimizer"
    assert measure(wrapped, model) == measure(wrapped.optimizer, model)
    assert measure(wrapped).optimizer == "Adam"


def test_the_trainers_loggers_get_every_epoch(tmp_path: Path) -> None:
    made = trainer(tmp_path, EpsilonRecorder(), gpt2(), language(), num_train_epochs=2)
    made.add_callback(EpsilonRecorder(log=made.log))
    made.train()
    rows = [row for row in made.state.log_history if "epsearch/damping" in row]
    assert [row["epoch"] for row in rows] == [1.0, 2.0]
    assert 0 < rows[0]["epsearch/damping/embedding"] < 1
