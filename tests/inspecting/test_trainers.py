"""Checkpoints that Hugging Face's Trainer and Lightning write: the names and ẑ of the live optimizer."""

import builtins

import pytest
import torch

from epsearch import inspect, measure

LENGTH, WORDS = 12, 40


def tokens(count=32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(1, WORDS, (LENGTH,), generator=generator) for _ in range(count)]


def gpt2(transformers):
    sizes = {"vocab_size": WORDS, "n_positions": LENGTH, "n_embd": 16, "n_layer": 11, "n_head": 2}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=0, eos_token_id=0, **sizes))


def bert(transformers):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, **sizes)
    return transformers.BertForMaskedLM(config)


def t5(transformers):
    sizes = {"d_model": 16, "d_ff": 24, "d_kv": 8, "num_layers": 2, "num_heads": 2}
    config = transformers.T5Config(vocab_size=WORDS, decoder_start_token_id=0, **sizes)
    return transformers.T5ForConditionalGeneration(config)


@pytest.fixture(scope="module", params=[gpt2, bert, t5])
def trained(request, tmp_path_factory):
    """The folder of the Trainer's checkpoint, and what `measure` reads from its optimizer."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("trainer")
    torch.manual_seed(0)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=3,
        per_device_train_batch_size=8,
        save_steps=3,
        weight_decay=0.01,
        adam_epsilon=1e-6,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    data = [{"input_ids": row, "labels": row} for row in tokens()]
    trainer = transformers.Trainer(request.param(transformers), arguments, train_dataset=data)
    trainer.train()
    return folder / "checkpoint-3", measure(trainer.optimizer, trainer.model)


def test_a_folder_of_hugging_face(trained):
    folder, expected = trained
    found = inspect(folder)
    assert found == expected
    assert found.optimizer == "AdamW"
    assert found.eps == 1e-6
    assert inspect(folder / "optimizer.pt") == expected


def test_without_transformers_only_the_names_are_missing(trained, monkeypatch):
    folder, expected = trained
    imported = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "transformers":
            raise ImportError(name)
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.warns(UserWarning, match="the tensors have no names"):
        found = inspect(folder)
    assert found.range == expected.range
    assert found.histogram == expected.histogram


def test_the_weights_of_older_trainers_have_the_order(trained, tmp_path):
    folder, expected = trained
    if not any(layer.name.startswith("transformer.wte") for layer in expected.layers):
        pytest.skip("one model is enough")
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2LMHeadModel.from_pretrained(folder)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "optimizer.pt").symlink_to(folder / "optimizer.pt")
    assert inspect(tmp_path) == expected


def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"width": 8})
            self.hidden = torch.nn.Linear(LENGTH, 8)
            self.norm = torch.nn.BatchNorm1d(8)
            self.head = torch.nn.Linear(8, 3)

        def training_step(self, batch, _):
            x, classes = batch
            return torch.nn.functional.cross_entropy(self.head(self.norm(self.hidden(x))), classes)

        def configure_optimizers(self):
            return torch.optim.RMSprop(self.parameters(), lr=1e-3, eps=1e-5)

    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(32, LENGTH), torch.arange(32) % 3)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=8))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    found = inspect(tmp_path / "last.ckpt")
    assert found == measure(trainer.optimizers[0], module)
    assert [layer.kind for layer in found.layers] == ["MLP", "bias", "normalization", "normalization", "head", "bias"]
