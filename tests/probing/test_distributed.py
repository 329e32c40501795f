"""Two ranks that train one model together find what one process finds, and each of them all of it.

Each rank gets half of every batch; DDP and FSDP2 average gradients, so that both train as one process does on whole
batches. Everything runs in float64, in which the order of sums is of no account.
"""

import json
import math
import os
import traceback
from pathlib import Path

import pytest
import torch
from torch import nn

from epsearch import Denominator, StudyError, UserError, create_optimizer, measure, probe
from epsearch.probing import histogram
from epsearch.probing.histogram import measure_layer
from epsearch.records.probe import Layer, ProbeResult
from epsearch.registry.optimizers import ADAPTIVE

if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("PyTorch without gloo", allow_module_level=True)

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

pytestmark = pytest.mark.thorough

RANKS = 2
OPTIMIZERS = [*ADAPTIVE, "rmsprop, centered"]


class Network(nn.Module):
    """Tensors of 7 and 3 rows split unevenly over two ranks; of those of one row the second rank has none."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.hidden = nn.Linear(5, 7)
        self.norm = nn.BatchNorm1d(7, track_running_stats=True)
        self.out = nn.Linear(7, 3)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, tokens):
        # Not normalised over the batch, of which each rank would see a half.
        hidden = torch.relu(self.hidden(self.embedding(tokens)))
        self.norm.running_mean.mul_(0.9)
        return self.out(hidden * self.norm.weight + self.norm.bias) * self.scale


def network():
    torch.manual_seed(0)
    return Network().double()


def batches(rank=None):
    """Three batches of 8 tokens and classes: all of them, or the half of one rank."""
    generator = torch.Generator().manual_seed(1)
    whole = [tuple(torch.randint(0, high, (8,), generator=generator) for high in (11, 3)) for _ in range(3)]
    return whole if rank is None else [tuple(part.chunk(RANKS)[rank] for part in batch) for batch in whole]


def loss_fn(model, batch):
    tokens, classes = batch
    return nn.functional.cross_entropy(model(tokens), classes)


def optimizer_for(name, model):
    name, _, variant = name.partition(", ")
    return create_optimizer(name, model.named_parameters(), lr=0.01, **({variant: True} if variant else {}))


def sharded(**keywords):
    model = network()
    fully_shard(model.hidden, **keywords)
    return fully_shard(model, **keywords)


def replicated():
    return nn.parallel.DistributedDataParallel(network())


WRAPPERS = {"fsdp2": sharded, "ddp": replicated}


def alone(name):
    model = network()
    return probe(model, batches(), loss_fn, optimizer_for(name, model))


def together(rank, wrapper, name):
    model = WRAPPERS[wrapper]()
    return probe(model, batches(rank), loss_fn, optimizer_for(name, model)).model_dump_json()


def raised(kind, function):
    with pytest.raises(kind) as caught:
        function()
    return str(caught.value)


# What is asked of each rank: functions of its number, which return something that JSON can hold.


def restores(rank):
    """A probe in the middle of a training leaves no trace in it."""
    trained = []
    for probed in (False, True):
        model = sharded()
        optimizer = optimizer_for("adam", model)
        for batch in batches(rank):
            if probed:
                probe(model, batches(rank), loss_fn, optimizer)
            # An evaluation leaves the gathered parameters in their place.
            with torch.no_grad():
                loss_fn(model.eval(), batch)
            if probed:
                probe(model, batches(rank), loss_fn, optimizer)
                assert not model.training
            model.train()
            optimizer.zero_grad()
            loss_fn(model, batch).backward()
            optimizer.step()
        assert all(isinstance(p, DTensor) for p in model.parameters())
        state = [tensor for values in optimizer.state.values() for tensor in values.values()]
        tensors = [*model.parameters(), *(p.grad for p in model.parameters()), *model.buffers(), *state]
        trained.append([tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for tensor in tensors])
    return all(torch.equal(*pair) for pair in zip(*trained, strict=True))


def restores_after_an_error(rank):
    model = sharded()
    before = [p.full_tensor() for p in model.parameters()]

    def failing(model, batch):
        loss_fn(model, batch)
        raise RuntimeError("between forward and backward")

    message = raised(RuntimeError, lambda: probe(model, batches(rank), failing, optimizer_for("adam", model), epochs=1))
    assert message == "between forward and backward"
    return all(torch.equal(p.full_tensor(), q) for p, q in zip(model.parameters(), before, strict=True))


def diverges_on_one_rank(rank, wrapper):
    """Only the last loss of one rank is NaN."""
    model = WRAPPERS[wrapper]()
    seen = []

    def loss_of(model, batch):
        seen.append(batch)
        return loss_fn(model, batch) + (math.nan if rank == 1 and len(seen) == 3 else 0)

    return raised(StudyError, lambda: probe(model, batches(rank), loss_of, optimizer_for("adam", model)))


def one_rank_alone_measures(rank):
    """State is everywhere the same with DDP: rank 0 may measure while rank 1 does not."""
    model = replicated()
    optimizer = optimizer_for("adam", model)
    for batch in batches(rank):
        optimizer.zero_grad()
        loss_fn(model, batch).backward()
        optimizer.step()
    return measure(optimizer, model).model_dump_json() if rank == 0 else None


def refuses_fsdp1(rank):
    model = FullyShardedDataParallel(network(), use_orig_params=True, device_id=torch.device("cpu"))
    optimizer = optimizer_for("adam", model)
    return raised(UserError, lambda: probe(model, batches(rank), loss_fn, optimizer))


def nothing_to_measure(rank):
    del rank
    model = sharded()
    return raised(UserError, lambda: measure(optimizer_for("adam", model), model))


def tensors():
    """Of all kinds that are told apart while counting."""
    generator = torch.Generator().manual_seed(2)
    spread = torch.empty(2001, dtype=torch.float64).normal_(-16, 4, generator=generator).exp()
    kinds = {f"spread, {dtype}": spread.to(dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)}
    kinds["float16"] = spread.clamp(1e-6, 1e3).half()
    kinds["matrix"] = spread.float().view(3, 667)
    kinds["zeros on one rank"] = torch.cat([torch.zeros(1001), spread[:1000].float()])
    kinds["signs and non-finite"] = torch.tensor([0.0, -0.0, math.nan, math.inf, -1.0, 1e-40, 3.0])
    kinds["one"] = torch.tensor([0.3])
    kinds["all zero"] = torch.zeros(5)
    # One float on each side of a boundary of rounding of √v, each on a rank of its own.
    boundary = torch.tensor(10.0).float()
    beside = [torch.nextafter(boundary, torch.tensor(end)) for end in (0.0, 99.0)]
    kinds["a boundary between the ranks"] = torch.stack([side for side in beside for _ in range(50)])
    return kinds


def layer_of(kind, placements=None):
    v = tensors()[kind]
    if placements is not None:
        mesh = init_device_mesh("cpu", (RANKS,) if len(placements) == 1 else (RANKS, 1))
        v = distribute_tensor(v, mesh, placements)
    return measure_layer("w", Denominator(v, 3.7, 0.5), (2, 98))


def as_large(function, *arguments):
    """As for a large tensor: bins decide, and values are looked up only where they must be."""
    usual = histogram.EXACT_BELOW
    histogram.EXACT_BELOW = 1
    try:
        return function(*arguments)
    finally:
        histogram.EXACT_BELOW = usual


PLACEMENTS = {"sharded": [Shard(0)], "replicated": [Replicate()], "hybrid": [Replicate(), Shard(0)]}

ASKED = {
    **{
        f"{wrapper}: {name}": lambda rank, wrapper=wrapper, name=name: together(rank, wrapper, name)
        for wrapper in WRAPPERS
        for name in OPTIMIZERS
    },
    **{
        f"{placed}: {kind}": lambda _, kind=kind, p=placements: layer_of(kind, p).model_dump_json()
        for placed, placements in PLACEMENTS.items()
        for kind in tensors()
    },
    **{
        f"large: {kind}": lambda _, kind=kind: as_large(layer_of, kind, PLACEMENTS["sharded"]).model_dump_json()
        for kind in tensors()
    },
    "restores": restores,
    "restores after an error": restores_after_an_error,
    **{f"diverges: {w}": lambda rank, w=w: diverges_on_one_rank(rank, w) for w in WRAPPERS},
    "one rank alone": one_rank_alone_measures,
    "fsdp1": refuses_fsdp1,
    "nothing": nothing_to_measure,
}


def run_rank(rank, folder):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    answers = {}
    for name, function in ASKED.items():
        try:
            answers[name] = function(rank)
        except Exception:
            answers[name] = {"error": traceback.format_exc()}
            break  # the other rank may be waiting for this one: nothing after this would tell anything
    Path(folder, f"{rank}.json").write_text(json.dumps(answers))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each rank answered: {name: (by rank 0, by rank 1)}."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(run_rank, (str(folder),), nprocs=RANKS)
    ranks = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]
    return {name: tuple(rank.get(name, "not asked any more") for rank in ranks) for name in ASKED}


def assert_same(found, expected):
    """Counts exactly, values up to the rounding of float64."""
    values = [[edge for layer in record.layers for edge in (layer.p2, layer.p98)] for record in (found, expected)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    counted = [
        [layer.model_copy(update={"p2": 0, "p98": 0}) for layer in record.layers] for record in (found, expected)
    ]
    assert counted[0] == counted[1]
    assert (found.range, found.settings, found.skipped) == (expected.range, expected.settings, expected.skipped)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_same_as_one_process(answers, wrapper, name):
    here, there = answers[f"{wrapper}: {name}"]
    assert here == there
    found = ProbeResult.model_validate_json(here)
    assert_same(found, alone(name))
    assert [layer.name for layer in found.layers] == [name for name, _ in network().named_parameters()]


@pytest.mark.parametrize("kind", tensors())
@pytest.mark.parametrize("placed", PLACEMENTS)
def test_a_tensor_is_measured_as_if_it_were_whole(answers, placed, kind):
    for answer in answers[f"{placed}: {kind}"]:
        assert Layer.model_validate_json(answer) == layer_of(kind)


@pytest.mark.parametrize("kind", tensors())
def test_so_is_a_large_one(answers, kind):
    for answer in answers[f"large: {kind}"]:
        assert Layer.model_validate_json(answer) == as_large(layer_of, kind)


def test_restores_shards(answers):
    assert answers["restores"] == (True, True)
    assert answers["restores after an error"] == (True, True)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_ranks_agree_that_the_loss_is_not_finite(answers, wrapper):
    for message in answers[f"diverges: {wrapper}"]:
        assert "NaN or infinite" in message


def test_with_ddp_one_rank_can_measure_alone(answers):
    expected = alone("adam")
    found = ProbeResult.model_validate_json(answers["one rank alone"][0])
    assert_same(found.model_copy(update={"settings": expected.settings}), expected)


def test_fsdp1_is_refused(answers):
    for message in answers["fsdp1"]:
        assert "fully_shard (FSDP2)" in message


def test_nothing_to_measure_is_said_on_every_rank(answers):
    for message in answers["nothing"]:
        assert "none of its 8 tensors has state yet" in message
