"""The probe's loop and what it puts back; every optimizer goes through it in tests/optimizers/test_contract.py."""

import copy
import importlib

import pytest
import torch

import epsearch
from epsearch import StudyError, UserError, measure, probe


def loss_fn(model, batch):
    return (model(batch) ** 2).sum()


def batches(count=3):
    return [torch.full((2, 2), 1.0 + i) for i in range(count)]


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(2, 2)


def test_the_function_is_not_hidden_by_a_module():
    """`epsearch.probe` must not become a package as soon as something imports from it."""
    for module in ("epsearch.training.run", "epsearch.pipeline", "epsearch.cli.main"):
        importlib.import_module(module)
    assert all(callable(getattr(epsearch, name)) for name in epsearch.__all__)


def test_is_an_epoch_of_training_and_then_measure():
    model, other = linear(), linear()
    result = probe(model, batches(), loss_fn, torch.optim.Adam(model.parameters()), epochs=2)
    optimizer = torch.optim.Adam(other.parameters())
    for batch in batches() * 2:
        optimizer.zero_grad()
        loss_fn(other, batch).backward()
        optimizer.step()
    by_hand = measure(optimizer, other, settings={"epochs": 2, "steps": 6})
    assert result == by_hand


def test_without_restore_the_model_stays_trained():
    model, other = linear(), linear()
    optimizer = torch.optim.Adam(model.parameters())
    probe(model, batches(), loss_fn, optimizer, restore=False)
    assert not torch.equal(model.weight, other.weight)
    assert optimizer.state[model.weight]["step"] == 3


@pytest.mark.parametrize(
    ("batches", "keywords", "message"),
    [
        ([], {}, "batches is empty"),
        (iter(batches()), {"epochs": 2}, "batches is exhausted after one epoch: use a list or a DataLoader"),
        (batches(), {"epochs": 0}, "epochs must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_trained_on(batches, keywords, message):
    model = linear()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError, match=message):
        probe(model, batches, loss_fn, torch.optim.Adam(model.parameters()), **keywords)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_unknown_optimizer_is_refused_before_training():
    model = linear()
    with pytest.raises(UserError, match="register_denominator"):
        probe(model, iter(lambda: pytest.fail("trained"), None), loss_fn, torch.optim.SGD(model.parameters()))


def test_a_loss_that_is_not_finite():
    model = linear()
    with pytest.raises(StudyError, match="NaN or infinite while probing; probe with a smaller lr"):
        probe(model, batches(), lambda *_: loss_fn(*_) / 0, torch.optim.Adam(model.parameters()))


class TestSnapshot:
    def test_buffers_that_are_replaced_instead_of_written_to(self):
        class Counting(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = linear()
                self.register_buffer("seen", torch.zeros(()))
                self.register_buffer("late", None)

            def forward(self, x):
                self.seen = self.seen + 1
                self.late = x.mean()
                return self.linear(x)

        model = Counting()
        seen = model.seen
        probe(model, batches(), loss_fn, torch.optim.Adam(model.parameters()))
        assert model.seen is seen
        assert seen == 0
        assert model.late is None

    def test_what_a_step_adds_to_a_group_goes_again(self):
        """pytorch_optimizer's classes count their steps there."""

        class Counting(torch.optim.Adam):
            def step(self, closure=None):
                for group in self.param_groups:
                    group["count"] = group.get("count", 0) + 1
                return super().step(closure)

        model = linear()
        optimizer = Counting(model.parameters())
        group = optimizer.param_groups[0]
        probe(model, batches(), loss_fn, optimizer)
        assert optimizer.param_groups[0] is group
        assert "count" not in group
        assert group["params"][0] is model.weight

    def test_a_learning_rate_that_is_a_tensor_and_scheduled_in_place(self):
        model = linear()
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.1), foreach=False)

        def decaying(model, batch):
            optimizer.param_groups[0]["lr"].mul_(0.5)
            return loss_fn(model, batch)

        probe(model, batches(), decaying, optimizer)
        assert optimizer.param_groups[0]["lr"].item() == pytest.approx(0.1)

    def test_parameters_outside_of_the_model(self):
        model, stray = linear(), torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.Adam([*model.parameters(), stray])
        result = probe(model, batches(), lambda model, batch: loss_fn(model, batch * stray), optimizer)
        assert [layer.name for layer in result.layers] == ["weight", "bias", "group0.param2"]
        assert stray.tolist() == [1, 1]
        assert stray.grad is None
