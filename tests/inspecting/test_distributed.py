"""Folders of torch.distributed.checkpoint, written by one process and by two ranks with FSDP2."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from epsearch import UserError, inspect, measure
from epsearch.records.probe import ProbeResult
from tests.inspecting.training import train, trained

if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("PyTorch without gloo", allow_module_level=True)

import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, Metadata
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.distributed.fsdp import fully_shard

RANKS = 2


def saved(folder, state, **others):
    dcp.save({"optimizer": state, **others}, checkpoint_id=folder, no_dist=True)
    return folder


def flat(model, optimizer):
    return get_optimizer_state_dict(model, optimizer, options=StateDictOptions(flatten_optimizer_state_dict=True))


WAYS = {
    "nested": get_optimizer_state_dict,
    "flattened": flat,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["adamw", "amsgrad", "rmsprop", "adabelief"])
def test_one_process(tmp_path, way, name):
    model, optimizer = trained(name)
    folder = saved(tmp_path, WAYS[way](model, optimizer), model=model.state_dict(), step=3)
    assert inspect(folder) == measure(optimizer, model)


def test_the_state_of_torchtitan_is_flat_with_two_groups(tmp_path):
    model, _ = trained()
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": vectors, "weight_decay": 0.0}])
    train(model, optimizer)
    found = inspect(saved(tmp_path, flat(model, optimizer)))
    layers = {layer.name: layer for layer in measure(optimizer, model).layers}
    assert {layer.name: layer for layer in found.layers} == layers


@pytest.mark.parametrize("inside", ["", "optimizer_0"])
def test_the_whole_folder_may_be_one_optimizer(tmp_path, inside):
    model, optimizer = trained()
    dcp.save(flat(model, optimizer), checkpoint_id=tmp_path / inside, no_dist=True)
    assert inspect(tmp_path) == measure(optimizer, model)


def test_state_by_number(tmp_path):
    model, optimizer = trained()
    with pytest.warns(UserWarning, match="no names"):
        found = inspect(saved(tmp_path, optimizer.state_dict()))
    assert found.histogram == measure(optimizer, model).histogram
    assert found.layers[2].name == "group0.param2"


class Network(nn.Module):
    """Tensors of 7 and 3 rows split unevenly over two ranks; of those of one row the second rank has none."""

    def __init__(self):
        super().__init__()
        self.tok_embeddings = nn.Embedding(11, 5)
        self.hidden = nn.Linear(5, 7)
        self.norm = nn.LayerNorm(7)
        self.output = nn.Linear(7, 3)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, tokens):
        return self.output(self.norm(torch.relu(self.hidden(self.tok_embeddings(tokens)))) * self.scale)


def run_rank(rank, folder):
    """Train a little with FSDP2, save the optimizer in two ways, and what `measure` reads."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    torch.manual_seed(0)
    model = Network()
    fully_shard(model.hidden)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-7)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(3):
        tokens, classes = (torch.randint(0, high, (8,), generator=generator) for high in (11, 3))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens), classes).backward()
        optimizer.step()
    for way, state_of in WAYS.items():
        dcp.save({"optimizer": state_of(model, optimizer)}, checkpoint_id=f"{folder}/{way}")
    Path(folder, f"{rank}.json").write_text(measure(optimizer, model).model_dump_json())
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(run_rank, (str(folder),), nprocs=RANKS)
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_two_ranks(sharded, way):
    assert len(list((sharded / way).glob("*.distcp"))) == RANKS
    expected = ProbeResult.load(sharded / "0.json")
    found = inspect(sharded / way)
    assert found == expected
    assert {layer.name: layer.kind for layer in found.layers}["output.weight"] == "head"


@pytest.mark.thorough
def test_a_missing_shard(sharded, tmp_path):
    for file in (sharded / "nested").iterdir():
        if file.name != "__1_0.distcp":
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(UserError, match=r"__1_0.distcp: cannot be read \(No such file.*copy the whole folder"):
        inspect(tmp_path)


def test_members_of_enums_that_are_pickled_as_attributes(monkeypatch, tmp_path):
    """As Python 3.11.2 does."""
    monkeypatch.setattr(
        _MEM_FORMAT_ENCODING, "__reduce_ex__", lambda member, _: (getattr, (_MEM_FORMAT_ENCODING, member.name))
    )
    model, optimizer = trained("adamw")
    folder = saved(tmp_path, flat(model, optimizer))
    assert b"getattr" in (tmp_path / ".metadata").read_bytes()
    assert inspect(folder).range == measure(optimizer, model).range


class TestMistakes:
    def test_a_folder_without_an_optimizer(self, tmp_path):
        dcp.save({"model": trained()[0].state_dict()}, checkpoint_id=tmp_path, no_dist=True)
        with pytest.raises(UserError, match=r"no optimizer state \(found: model.0.weight, .*Save the optimizer too"):
            inspect(tmp_path)

    def test_a_damaged_shard(self, tmp_path):
        model, optimizer = trained()
        folder = saved(tmp_path, flat(model, optimizer))
        (shard,) = folder.glob("*.distcp")
        shard.write_bytes(shard.read_bytes()[:-3000])
        with pytest.raises(UserError, match="cannot be read"):
            inspect(folder)

    @pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"a": 1})])
    def test_metadata_that_is_none(self, tmp_path, content):
        (tmp_path / ".metadata").write_bytes(content)
        with pytest.raises(UserError, match="is not metadata of DCP"):
            inspect(tmp_path)

    @pytest.mark.parametrize(("of", "name"), [(_MEM_FORMAT_ENCODING, "mro"), (Metadata, "__init__")])
    def test_attributes_in_the_metadata_are_not_looked_up(self, tmp_path, of, name):
        """Only members of enums are, which some releases of Python pickle as attributes."""

        class Attribute:
            def __reduce__(self):
                return getattr, (of, name)

        (tmp_path / ".metadata").write_bytes(pickle.dumps(Attribute()))
        with pytest.raises(UserError, match=f"it asks for '{name}', which is not part of DCP's metadata"):
            inspect(tmp_path)

    def test_code_in_the_metadata_does_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        (tmp_path / ".metadata").write_bytes(pickle.dumps(Evil()))
        with pytest.raises(UserError, match=r"it refers to _?io.open, which is not part of DCP's metadata"):
            inspect(tmp_path)
        assert not (tmp_path / "ran").exists()
