"""Files of torch.save: what is found in them is what `measure` reads from the live optimizer."""

import argparse

import pytest
import torch

from epsearch import UserError, inspect, measure
from epsearch.registry.optimizers import ADAPTIVE
from tests.inspecting.training import network, train, trained

AMBIGUOUS = ("eadam", "adamomentum", "lamb")
"""Their state is that of Adam."""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "checkpoint.pt"


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("named", [True, False])
def test_every_optimizer(file, name, named):
    model, optimizer = trained(name)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    expected = measure(optimizer, model)
    if named or name in AMBIGUOUS:
        assert inspect(file, optimizer=name) == expected
    else:
        assert inspect(file) == expected


def test_rmsprop_centered(file):
    model, optimizer = trained("rmsprop", centered=True)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    assert inspect(file) == measure(optimizer, model)


def test_options_are_those_of_measure(file):
    model, optimizer = trained()
    torch.save({"net": model.state_dict(), "optim": optimizer.state_dict()}, file)
    options = {"range": "paper", "percentiles": (10, 90), "exclude": ["*.bias"]}
    assert inspect(str(file), **options) == measure(optimizer, model, **options)


@pytest.mark.parametrize(
    "place",
    [
        lambda state: state,
        lambda state: {"optimizer": state},
        lambda state: {"optimizer_state_dict": state, "epoch": 3},
        lambda state: {"optim": state, "args": {"lr": 1e-3}},
        lambda state: {"optimizer_states": [state], "loops": {"fit": [1, 2]}},
        lambda state: {"train": {"inner": {"optimizer": state}}},
    ],
)
def test_wherever_it_is_and_without_a_model(file, place):
    model, optimizer = trained()
    torch.save(place(optimizer.state_dict()), file)
    with pytest.warns(UserWarning, match="the tensors have no names"):
        found = inspect(file)
    assert found.range == measure(optimizer, model).range
    assert [layer.name for layer in found.layers] == [f"group0.param{index}" for index in range(8)]
    assert [layer.kind for layer in found.layers[:5]] == ["convolution", "vector", "vector", "vector", "matrix"]


def test_names_that_the_optimizer_saved(file):
    model = network()
    optimizer = torch.optim.AdamW(model.named_parameters())
    train(model, optimizer)
    torch.save(optimizer.state_dict(), file)
    assert [layer.name for layer in inspect(file).layers] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("decays", [lambda name, p: p.dim() >= 2, lambda name, p: not name.endswith("bias")])
def test_groups_with_and_without_weight_decay(file, decays, first):
    model = network()
    groups = [
        {"params": [p for name, p in model.named_parameters() if bool(decays(name, p)) is kept], "weight_decay": kept}
        for kept in (first, not first)
    ]
    optimizer = torch.optim.AdamW(groups)
    train(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    assert [layer.model_copy(update={"kind": "other"}) for layer in inspect(file).layers] == [
        layer.model_copy(update={"kind": "other"}) for layer in measure(optimizer, model).layers
    ]


def test_groups_one_after_another(file):
    model = network()
    optimizer = torch.optim.Adam([{"params": part.parameters()} for part in (model[0], model[1:4], model[4:])])
    train(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    assert inspect(file).layers == measure(optimizer, model).layers


def test_parameters_without_gradients_are_skipped(file):
    model = network()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    found = inspect(file)
    assert found.skipped == ["0.weight", "0.bias"]
    assert found == measure(optimizer, model)


def test_tied_tensors_have_the_first_name(file):
    model = torch.nn.ModuleDict({"wte": torch.nn.Embedding(7, 5), "head": torch.nn.Linear(5, 7, bias=False)})
    model["head"].weight = model["wte"].weight
    optimizer = torch.optim.Adam(model.parameters())
    model["head"](model["wte"](torch.arange(7))).square().sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    assert inspect(file) == measure(optimizer, model)


def test_a_model_with_other_shapes_does_not_name_them(file):
    _, optimizer = trained()
    torch.save({"model": torch.nn.Linear(3, 3).state_dict(), "optimizer": optimizer.state_dict()}, file)
    with pytest.warns(UserWarning, match="no names"):
        assert inspect(file).layers[0].name == "group0.param0"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtypes(file, dtype):
    model, optimizer = trained(dtype=dtype)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    found = inspect(file)
    assert found == measure(optimizer, model)
    assert found.settings.get("dtype") == ("bfloat16" if dtype == torch.bfloat16 else None)


def test_the_old_format_of_files(file):
    model, optimizer = trained()
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(saved, file, _use_new_zipfile_serialization=False)
    assert inspect(file) == measure(optimizer, model)


def test_steps_counted_by_group(file):
    """As Apex and DeepSpeed do."""
    model, optimizer = trained()
    state = optimizer.state_dict()
    group = {key: state["param_groups"][0][key] for key in ("lr", "betas", "eps", "weight_decay", "params")}
    steps = {"param_groups": [{**group, "step": 3}], "state": {}}
    for index, values in state["state"].items():
        steps["state"][index] = {key: value for key, value in values.items() if key != "step"}
    torch.save({"model": model.state_dict(), "optimizer": steps}, file)
    assert inspect(file).layers == measure(optimizer, model).layers


def test_an_adabelief_that_accumulates_eps(file):
    reference = pytest.importorskip("pytorch_optimizer")
    found = {}
    model, optimizer = trained("adabelief", dtype=torch.float64, eps=1e-10)
    found["kept apart"] = measure(optimizer, model)
    model = network(torch.float64)
    optimizer = reference.AdaBelief(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-10, rectify=False)
    train(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    found["accumulated"] = inspect(file)
    ends = [[layer.p98 for layer in result.layers] for result in found.values()]
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)


class TestSeveral:
    def test_one_must_be_chosen(self, file):
        _, optimizer = trained()
        model, other = trained("rmsprop")
        states = [optimizer.state_dict(), other.state_dict()]
        torch.save({"state_dict": model.state_dict(), "optimizer_states": states}, file)
        with pytest.raises(UserError, match=r"2 optimizers, at optimizer_states.0 and optimizer_states.1; choose"):
            inspect(file)
        assert inspect(file, key="optimizer_states.1") == measure(other, model)
        with pytest.raises(
            UserError, match=r"no optimizer at 'x', only at 'optimizer_states.0' and 'optimizer_states.1'"
        ):
            inspect(file, key="x")

    def test_those_without_eps_do_not_count(self, file):
        model, optimizer = trained()
        sgd = torch.optim.SGD(model.parameters(), momentum=0.9)
        train(model, sgd)
        torch.save({"m": model.state_dict(), "sgd": sgd.state_dict(), "adam": optimizer.state_dict()}, file)
        assert inspect(file).optimizer == "Adam"


class TestMistakes:
    @pytest.mark.parametrize(
        ("optimizer", "message"),
        [
            (lambda p: torch.optim.SGD(p, momentum=0.9), "it looks like SGD or Muon, which have no such ε"),
            (torch.optim.Adadelta, "it looks like Adadelta"),
            (torch.optim.Adafactor, "it looks like Adafactor"),
            (torch.optim.Rprop, "it holds prev, step, step_size"),
        ],
    )
    def test_optimizers_that_cannot_be_read(self, file, optimizer, message):
        model = network()
        made = optimizer(model.parameters())
        train(model, made)
        torch.save(made.state_dict(), file)
        with pytest.raises(UserError, match=message):
            inspect(file)

    def test_an_optimizer_that_does_not_exist(self, file):
        torch.save(trained()[1].state_dict(), file)
        with pytest.raises(UserError, match=r"no adaptive optimizer is called 'adma'\. Did you mean"):
            inspect(file, optimizer="adma")

    def test_an_optimizer_with_other_state(self, file):
        torch.save(trained()[1].state_dict(), file)
        with pytest.raises(UserError, match=r"has no exp_inf, which adamax needs; name the"):
            inspect(file, optimizer="adamax")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"model": {"w": torch.ones(2)}}, r"no optimizer state \(found: model\). Save optimizer.state_dict\(\)"),
            ([1, 2], r"no optimizer state \(found: list\)"),
            ({"optimizer": {"zero_stage": 1}}, "one rank's part of DeepSpeed's ZeRO"),
            (
                {"args": argparse.Namespace(lr=1)},
                r"holds an object of argparse.Namespace, .*safe_globals\(\[Namespace\]",
            ),
        ],
    )
    def test_other_contents(self, file, content, message):
        torch.save(content, file)
        with pytest.raises(UserError, match=message):
            inspect(file)

    def test_before_the_first_step(self, file):
        torch.save(torch.optim.Adam(network().parameters()).state_dict(), file)
        with pytest.raises(UserError, match="it holds nothing"):
            inspect(file)

    def test_files_that_are_none(self, file, tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            inspect(tmp_path / "missing.pt")
        file.write_text("not a checkpoint")
        with pytest.raises(UserError, match="is not a"):
            inspect(file)
        torch.save(trained()[1].state_dict(), file)
        file.write_bytes(file.read_bytes()[:-1000])
        with pytest.raises(UserError, match=r"is not a complete file of torch.save"):
            inspect(file)

    def test_weights_alone(self, tmp_path):
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_file(network().state_dict(), tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=r"holds no optimizer state|is not a file of torch\.save"):
            inspect(tmp_path / "model.safetensors")

    def test_folders_that_are_none(self, tmp_path):
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(UserError, match=r"neither a folder of torch.distributed.* it holds model.safetensors"):
            inspect(tmp_path)

    def test_code_in_a_file_does_not_run(self, file, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"optimizer": Evil()}, file)
        with pytest.raises(UserError, match="loading it could run code"):
            inspect(file)
        assert not (tmp_path / "ran").exists()
