"""`create_optimizer`, `register_denominator`, and the conventions of the classes written here."""

import inspect
import subprocess
import sys

import pytest
import torch

from epsearch import Denominator, UserError, create_optimizer, measure, register_denominator
from epsearch.core.imports import load_object
from epsearch.optimizers import default_eps
from epsearch.registry.optimizers import ADAPTIVE, BASELINES, OPTIMIZERS
from epsearch.study.config import StudyConfig
from tests.optimizers.drive import gradients, parameters, step_through, weights

OWN = [name for name, row in OPTIMIZERS.items() if row.path.startswith("epsearch.")]


def one():
    return [torch.nn.Parameter(torch.ones(3))]


class TestCreate:
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_the_one_call_serves_every_row(self, name):
        eps = {} if name in BASELINES else {"eps": 1e-5}
        optimizer = create_optimizer(name, one(), lr=0.2, betas=(0.8, 0.95), weight_decay=5e-4, **eps)
        group = optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (0.2, 5e-4)
        assert group.get("eps") == eps.get("eps")
        given = OPTIMIZERS[name].keywords(0.8, 0.95)
        assert {key: group[key] for key in given} == given

    def test_defaults_are_the_fields(self):
        groups = {name: create_optimizer(name, one(), lr=1e-3).param_groups[0] for name in OPTIMIZERS}
        assert groups["rmsprop"]["alpha"] == 0.99
        assert groups["sgd_momentum"]["momentum"] == 0.9
        assert {name: group["eps"] for name, group in groups.items() if name in ADAPTIVE} == {
            "adagrad": 1e-10,
            "rmsprop": 1e-8,
            "adam": 1e-8,
            "diffgrad": 1e-8,
            "adamod": 1e-8,
            "adabelief": 1e-16,
            "madgrad": 1e-6,
            "eadam": 1e-8,
            "adamomentum": 1e-8,
            "adamw": 1e-8,
            "amsgrad": 1e-8,
            "nadam": 1e-8,
            "radam": 1e-8,
            "adamax": 1e-8,
            "yogi": 1e-3,
            "lamb": 1e-6,
        }
        for name, group in groups.items():
            assert group.get("betas", (0.9, 0.999)) == (0.9, 0.999), name

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_each_default_is_its_class_s(self, name):
        """Of every option, but for what the row's name stands for: the momentum of the baseline, amsgrad."""
        row = OPTIMIZERS[name]
        options = inspect.signature(load_object(row.path)).parameters
        group = create_optimizer(name, one(), lr=1e-3).param_groups[0]
        own = {option: parameter.default for option, parameter in options.items() if option in group}
        named = {"amsgrad": ["amsgrad"], "sgd_momentum": ["momentum", "dampening"]}.get(name, [])
        for option in {*own} - {"params", "lr", *named}:
            assert group[option] == own[option], option
        assert row.weight_decay == own["weight_decay"]
        study = {"name": "s", "workload": {"train": "m:f"}, "metric": {"name": "score", "goal": "maximize"}}
        if name not in BASELINES:
            resolved = StudyConfig.model_validate({**study, "optimizer": {"name": name}}).optimizer
            assert resolved.weight_decay == own["weight_decay"]
            assert default_eps(name) == own["eps"]

    def test_amsgrad_is_adam(self):
        optimizer = create_optimizer("amsgrad", one(), lr=1e-3)
        assert type(optimizer) is torch.optim.Adam
        assert optimizer.param_groups[0]["amsgrad"] is True

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            ({"name": "adem"}, "no optimizer called 'adem'; choose one of adagrad, rmsprop, adam,"),
            ({"name": "sgd_momentum", "eps": 1e-8}, "sgd_momentum has no eps"),
            ({"name": "adabelief", "amsgrad": True}, "adabelief has no amsgrad; it takes weight_decay,"),
            ({"name": "adabelief", "foreach": True}, "adabelief has no foreach"),
            ({"name": "adam", "alpha": 0.9}, "adam has no alpha"),
            ({"name": "amsgrad", "amsgrad": False}, "amsgrad is already set"),
            ({"name": "rmsprop", "alpha": 0.9}, "alpha is already set by the optimizer's name or by betas"),
            ({"name": "madgrad", "momentum": 0.5}, "momentum is already set"),
            ({"name": "adam", "eps": -1.0}, "adam: Invalid epsilon value: -1.0"),
            ({"name": "adam", "fused": True, "foreach": True}, "adam: .*fused.* and .*foreach.* cannot be"),
            ({"name": "adam", "params": []}, "adam: optimizer got an empty parameter list"),
        ],
    )
    def test_what_cannot_be_is_said(self, call, message):
        with pytest.raises(UserError, match=message):
            create_optimizer(**{"params": one(), "lr": 1e-3, **call})

    @pytest.mark.parametrize("name", OWN)
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"lr": -1.0}, "lr must be at least 0"),
            ({"eps": float("nan")}, "eps must be at least 0"),
            ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
            ({"betas": (1.0, 0.9)}, "must be at least 0 and below 1"),
        ],
    )
    def test_values_out_of_range(self, name, wrong, message):
        with pytest.raises(UserError, match=f"{name}: .*{message}"):
            create_optimizer(name, one(), **{"lr": 1e-3, **wrong})
        group = {"params": one(), **wrong}
        if "betas" not in wrong:
            with pytest.raises(UserError, match=message):
                create_optimizer(name, [group], lr=1e-3)

    def test_the_table_loads_no_torch(self):
        code = "import sys, epsearch.optimizers, epsearch.registry.optimizers; print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestRows:
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_takes_what_its_class_takes(self, name):
        """A row that can search β₂ hands it on; one that cannot is the same for every β₂."""
        row = OPTIMIZERS[name]
        assert ("beta2" in row.takes) == (row.keywords(0.9, 0.5) != row.keywords(0.9, 0.99))
        assert ("eps" in row.takes) == (row.denominator is not None)
        assert row.takes[0] == "lr"

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_readers_say_their_equation(self, name):
        row = OPTIMIZERS[name]
        if row.denominator is not None:
            assert "ẑ" in load_object(row.denominator).__doc__
            assert load_object(row.path).__doc__
        assert row.eps_enters
        assert row.note


class TestRegister:
    def test_an_unknown_class_is_refused_with_the_remedy(self):
        with pytest.raises(UserError, match=r"ASGD.*supports adagrad.*register_denominator"):
            measure(torch.optim.ASGD(one()))

    def test_a_subclass_is_known(self):
        class Mine(torch.optim.Adam):
            pass

        params = parameters(weights())
        optimizer = Mine(params)
        step_through(optimizer, params, gradients())
        assert measure(optimizer).optimizer == "Mine"

    def test_a_class_of_ones_own(self):
        class Last(torch.optim.SGD):
            pass

        register_denominator(Last, lambda state, group: Denominator(state["momentum_buffer"].abs(), 2.0, 1.0))
        params = one()
        optimizer = Last(params, lr=0.1, momentum=0.5)
        params[0].grad = torch.tensor([1.0, -1.0, 1.0])
        optimizer.step()
        assert measure(optimizer).layers[0].p98 == pytest.approx(2.0)


@pytest.mark.parametrize("name", OWN)
class TestOwnClasses:
    def test_gradients_are_not_written_to(self, name):
        params = one()
        optimizer = create_optimizer(name, params, lr=0.1, weight_decay=0.1, maximize=True)
        params[0].grad = torch.tensor([1.0, 0.0, -2.0])
        optimizer.step()
        assert params[0].grad.tolist() == [1.0, 0.0, -2.0]

    def test_closure_and_hooks(self, name):
        params, seen = one(), []
        optimizer = create_optimizer(name, params, lr=0.1)
        optimizer.register_step_post_hook(lambda *_: seen.append(1))

        def closure():
            optimizer.zero_grad()
            loss = (params[0] ** 2).sum()
            loss.backward()
            return loss

        assert optimizer.step(closure).item() == 3.0
        assert seen == [1]

    def test_a_scheduler_drives_it(self, name):
        params = parameters(weights())
        optimizer = create_optimizer(name, params, lr=0.1)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1], gamma=0.0)
        step_through(optimizer, params, [each[:1] for each in gradients()])
        scheduler.step()
        before = [p.detach().clone() for p in params]
        step_through(optimizer, params, [each[:1] for each in gradients()])
        # MADGRAD still moves towards where its sums point, AdaMod's average of step sizes is bounded by n = 0.
        assert all(torch.equal(p, q) for p, q in zip(params, before, strict=True)) == (name != "madgrad")

    def test_complex_parameters_are_refused(self, name):
        params = [torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))]
        optimizer = create_optimizer(name, params, lr=0.1)
        params[0].grad = torch.ones_like(params[0])
        with pytest.raises(RuntimeError, match="takes no complex gradients"):
            optimizer.step()

    def test_a_network_learns(self, name):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        warm = {"beta3": 0.9} if name == "adamod" else {}  # its step sizes take 1 / (1 - β₃) steps to grow
        optimizer = create_optimizer(name, model.parameters(), lr=0.03, eps=1e-6, **warm)
        x = torch.randn(64, 3)
        y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
        losses = []
        for _ in range(300):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad"])
def test_complex_state_counts_real_and_imaginary_parts(name):
    params = [torch.nn.Parameter(torch.ones(50, dtype=torch.complex64))]
    optimizer = create_optimizer(name, params, lr=0.1)
    params[0].grad = torch.full((50,), 3.0 + 0.5j)
    optimizer.step()
    layer = measure(optimizer).layers[0]
    assert (layer.p2, layer.p98) == pytest.approx((0.5, 3.0), rel=1e-6)
