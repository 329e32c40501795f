"""The contract of every optimizer: probe, measure, restore, step, save."""

import copy
import random

import numpy as np
import pytest
import torch

from epsearch import ProbeResult, StudyError, UserError, create_optimizer, measure, probe
from epsearch.registry.optimizers import ADAPTIVE, OPTIMIZERS
from tests.optimizers.drive import BETAS, LR, gradients, has_option, parameters, read_z, step_through, trained, weights
from tests.optimizers.twins import TWINS

# capturable=True wants a GPU (test_gpu), fused=True is not there for every class on the CPU.
VARIANTS = [(name, "foreach") for name in ADAPTIVE if has_option(name, "foreach")]
VARIANTS += [(name, "fused") for name in ADAPTIVE if has_option(name, "fused")]


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.3), torch.nn.Linear(6, 3)
    )


def batches(count=5):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 4, generator=generator) for _ in range(count)]


def loss_fn(model, batch):
    # The user's loop may draw from any of the generators.
    noise = random.random() + np.random.random() + torch.rand(())
    return (model(batch) ** 2).mean() + 0 * noise


def everything(model, optimizer):
    """All that a probe may change, copied, with tensors as arrays."""
    state = {
        "values": dict(model.state_dict()),
        "gradients": [p.grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "optimizer": optimizer.state_dict(),
        "random": (random.getstate(), np.random.get_state(), torch.get_rng_state()),
    }
    return copy.deepcopy(state)


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


# How a probe ends does not depend on the optimizer: all cases for one of torch's and one of epsearch's own, and for
# each of the others the case with the most to restore.
IN_FULL = ("adam", "madgrad")
RESTORES = [(name, end, used) for name in IN_FULL for end in ("success", "raises", "nan") for used in (False, True)]
RESTORES += [(name, "success", True) for name in ADAPTIVE if name not in IN_FULL]


@pytest.mark.parametrize(("name", "end", "used"), RESTORES)
def test_probe_restores(name, end, used):
    model = small_network()
    optimizer = create_optimizer(name, model.parameters(), lr=LR, weight_decay=1e-3)
    if used:
        probe(model, batches(3), loss_fn, optimizer, restore=False)
        loss_fn(model, batches()[0]).backward()
    model.eval()
    model[2].train()
    before = everything(model, optimizer)
    calls = 0

    def misbehaving(model, batch):
        nonlocal calls
        calls += 1
        if calls == 3 and end == "raises":
            raise KeyError("the user's own")
        return loss_fn(model, batch) * (float("nan") if calls == 3 and end == "nan" else 1)

    if end == "success":
        probe(model, batches(), misbehaving, optimizer)
    else:
        with pytest.raises(KeyError if end == "raises" else StudyError):
            probe(model, batches(), misbehaving, optimizer)
    assert calls >= 3
    assert_same(everything(model, optimizer), before)


@pytest.mark.parametrize("name", ADAPTIVE)
class TestProbe:
    def test_training_afterwards_is_as_without_it(self, name):
        ends = []
        for probing in (False, True):
            model = small_network()
            optimizer = create_optimizer(name, model.parameters(), lr=LR)
            torch.manual_seed(2)
            probe(model, batches(3), loss_fn, optimizer, restore=False)
            if probing:
                probe(model, batches(4), loss_fn, optimizer)
            probe(model, batches(3), loss_fn, optimizer, restore=False)
            ends.append(everything(model, optimizer))
        assert_same(*(dict(end, random=None) for end in ends))

    def test_result_is_saved_and_loaded(self, name, tmp_path):
        model = small_network()
        result = probe(model, batches(), loss_fn, create_optimizer(name, model.parameters(), lr=LR))
        assert [layer.name for layer in result.layers] == [name for name, _ in model.named_parameters()]
        result.save(tmp_path / "probe.json")
        assert ProbeResult.load(tmp_path / "probe.json") == result

    def test_settings_say_what_it_was_read_under(self, name):
        model = small_network()
        optimizer = create_optimizer(name, model.parameters(), lr=LR, betas=(0.9, 0.95), eps=1e-5)
        settings = probe(model, batches(), loss_fn, optimizer).settings
        expected = {"lr": LR, "eps": 1e-5, "epochs": 1, "steps": 5}
        assert settings == expected | ({"beta2": 0.95} if "beta2" in OPTIMIZERS[name].takes else {})


@pytest.mark.parametrize("name", ADAPTIVE)
class TestMeasure:
    def test_changes_nothing(self, name):
        optimizer, params = trained(name)
        before = copy.deepcopy((optimizer.state_dict(), params))
        measure(optimizer)
        assert_same((optimizer.state_dict(), params), before)

    def test_before_the_first_step(self, name):
        optimizer = create_optimizer(name, parameters(weights()), lr=LR)
        with pytest.raises(UserError, match="none of its 4 tensors has state yet"):
            measure(optimizer)

    def test_without_gradients_at_all(self, name):
        initial = {"initial_accumulator": 0.0} if name == "yogi" else {}
        zeros = [[np.zeros_like(theta)] * 3 for theta in weights()]
        optimizer, _ = trained(name, sequence=zeros, **initial)
        with pytest.raises(UserError, match="of 164 elements 164 are zero"):
            measure(optimizer)

    def test_gradients_that_are_not_finite_are_counted_and_named(self, name):
        broken = gradients()
        broken[1][3][2, 2:4] = np.nan, np.inf
        optimizer, _ = trained(name, sequence=broken)
        layers = measure(optimizer).layers
        # LAMB's norms carry it through the whole tensor's weights, but v stays elementwise.
        assert [layer.nonfinite for layer in layers] == [0, 2, 0, 0]
        assert layers[1].name == "group0.param1"
        assert layers[1].p2 is not None

    def test_groups_have_their_own_eps_and_betas(self, name):
        row, params = OPTIMIZERS[name], parameters(weights(), torch.float64)
        settings = [(1e-8, (0.9, 0.999)), (1e-2, (0.8, 0.95))]
        groups = [
            {"params": params[2 * i : 2 * i + 2], "eps": eps, **row.keywords(*betas)}
            for i, (eps, betas) in enumerate(settings)
        ]
        optimizer = create_optimizer(name, groups, lr=LR)
        step_through(optimizer, params, gradients())
        for i, (p, theta, each) in enumerate(zip(params, weights(), gradients(), strict=True)):
            eps, betas = settings[i // 2]
            np.testing.assert_allclose(read_z(optimizer, p), TWINS[name](theta, each, LR, eps, *betas)[1], rtol=1e-6)
        assert [layer.name for layer in measure(optimizer).layers][2] == "group1.param0"

    def test_a_parameter_that_begins_late_counts_its_own_steps(self, name):
        params = parameters(weights(), torch.float64)
        optimizer = create_optimizer(name, params, lr=LR, betas=BETAS)
        sequence = gradients()
        step_through(optimizer, params[:1], [sequence[0][:20]])
        step_through(optimizer, params, [each[20:] for each in sequence])
        for p, theta, each in zip(params[1:], weights()[1:], sequence[1:], strict=True):
            eps = optimizer.param_groups[0]["eps"]
            z = TWINS[name](theta, each[20:], LR, eps, *BETAS)[1]
            np.testing.assert_allclose(read_z(optimizer, p), z, rtol=1e-6)

    def test_frozen_unused_and_tied_parameters(self, name):
        class Tied(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = torch.nn.Embedding(5, 3)
                self.decoder = torch.nn.Linear(3, 5)
                self.decoder.weight = self.embedding.weight
                self.frozen = torch.nn.Linear(3, 3).requires_grad_(False)
                self.unused = torch.nn.Linear(3, 3)

        torch.manual_seed(0)
        model = Tied()
        optimizer = create_optimizer(name, model.parameters(), lr=LR)
        tokens = [torch.tensor([0, 1, 2])] * 3
        result = probe(
            model,
            tokens,
            lambda model, batch: torch.nn.functional.cross_entropy(
                model.decoder(model.frozen(model.embedding(batch))), batch
            ),
            optimizer,
        )
        assert [layer.name for layer in result.layers] == ["embedding.weight", "decoder.bias"]
        assert result.skipped == ["frozen.weight", "frozen.bias", "unused.weight", "unused.bias"]

    def test_maximize_measures_the_same(self, name):
        negated = [[-g for g in each] for each in gradients()]
        up, params = trained(name, maximize=True)
        down, others = trained(name, sequence=negated)
        for p, q in zip(params, others, strict=True):
            assert torch.equal(p, q)
            np.testing.assert_array_equal(read_z(up, p), read_z(down, q))

    @pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.bfloat16, 0.5), (torch.float16, 0.5)])
    def test_state_of_other_dtypes(self, name, dtype, rtol):
        shape = (500,)
        random_state = np.random.default_rng(0)
        sequence = [[random_state.standard_normal(shape) for _ in range(8)]]
        # What the parameter gets is what the twin is to see.
        sequence = [[torch.tensor(g, dtype=dtype).double().numpy() for g in each] for each in sequence]
        start = [np.ones(shape)]
        params = parameters(start, dtype)
        optimizer = create_optimizer(name, params, lr=LR, betas=(0.5, 0.9), eps=1e-7)
        step_through(optimizer, params, sequence)
        z = TWINS[name](start[0], sequence[0], LR, 1e-7, 0.5, 0.9)[1]
        layer = measure(optimizer).layers[0]
        assert (layer.p2, layer.p98) == pytest.approx(np.percentile(z, [2, 98]), rel=rtol)

    def test_sparse_gradients(self, name):
        params = parameters([np.ones((6, 2))])
        optimizer = create_optimizer(name, params, lr=LR)
        gradient = torch.sparse_coo_tensor([[1, 4]], [[3.0, -4.0], [5.0, 0.0]], (6, 2), check_invariants=True)
        params[0].grad = gradient
        if name != "adagrad":
            with pytest.raises(RuntimeError, match="sparse"):
                optimizer.step()
            return
        optimizer.step()
        layer = measure(optimizer).layers[0]
        assert (layer.numel, layer.zeros) == (12, 9)
        assert (layer.p2, layer.p98) == pytest.approx(np.percentile([3, 4, 5], [2, 98]))

    def test_state_that_was_saved_and_loaded(self, name, tmp_path):
        optimizer, params = trained(name)
        torch.save(optimizer.state_dict(), tmp_path / "state.pt")
        again = create_optimizer(name, parameters(weights()), lr=1.0)
        again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert measure(again) == measure(optimizer)
        copies = again.param_groups[0]["params"]
        for p, q in zip(params, copies, strict=True):
            q.data.copy_(p)
        step_through(optimizer, params, gradients(seed=9))
        step_through(again, copies, gradients(seed=9))
        assert all(torch.equal(p, q) for p, q in zip(params, copies, strict=True))


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_other_implementations_of_a_class(name, variant):
    usual, params = trained(name)
    optimizer, others = trained(name, **{variant: True})
    for p, q in zip(params, others, strict=True):
        np.testing.assert_allclose(read_z(optimizer, q), read_z(usual, p), rtol=1e-5)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_root_is_the_power_of_a_large_eps_in_the_update(name):
    """The last of ten steps on gradients of 1e-9, at two values of ε far above ẑ."""
    options = {"weight_decay": 0.0} | ({"initial_accumulator": 0.0} if name == "yogi" else {})
    random = np.random.default_rng(0)
    sequence = [[1e-9 * random.standard_normal(theta.shape) for _ in range(10)] for theta in weights()]
    sizes, roots = [], set()
    for eps in (1e-4, 1e-2):
        optimizer = create_optimizer(name, parameters(weights(), torch.float64), lr=LR, eps=eps, **options)
        params = optimizer.param_groups[0]["params"]
        step_through(optimizer, params, [each[:-1] for each in sequence])
        before = [p.detach().clone() for p in params]
        step_through(optimizer, params, [each[-1:] for each in sequence])
        sizes.append(sum((p.detach() - old).norm() for p, old in zip(params, before, strict=True)))
        roots.add(measure(optimizer).root)
    (root,) = roots
    assert torch.log10(sizes[0] / sizes[1]).item() / 2 == pytest.approx(root, abs=0.01)
