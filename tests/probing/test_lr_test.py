"""The learning-rate test: what it trains, and that it leaves nothing behind."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn

from epsearch import LrTest, StudyError, UserError, create_optimizer, lr_test
from epsearch.registry.optimizers import ADAPTIVE
from tests.optimizers.test_contract import assert_same, everything

TRUE = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def batches(count=8):
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(32, 6, generator=generator) for _ in range(count)]
    return [(x, (x @ TRUE).argmax(1)) for x in inputs]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))


def loss_fn(model, batch):
    # The user's code may draw from any of the generators.
    noise = random.random() + np.random.random() + torch.rand(())
    return nn.functional.cross_entropy(model(batch[0]), batch[1]) + 0 * noise


def adam(model, **keywords):
    return torch.optim.Adam(model.parameters(), **{"lr": 1e-3, "eps": 1e-6, **keywords})


def test_the_curve_of_a_network_that_trains():
    model = network()
    test = lr_test(model, batches(), loss_fn, adam(model))
    assert (test.optimizer, test.eps, test.settings["steps"]) == ("Adam", 1e-6, len(test.lrs))
    assert test.lrs[0] == pytest.approx(1e-6)
    assert all(after > before for before, after in itertools.pairwise(test.lrs))
    assert test.losses[0] == pytest.approx(1.1, abs=0.3)
    assert 3e-3 < test.suggestion < 0.3
    assert (test.low, test.high) == (test.suggestion / 10, test.suggestion * 10)
    assert "a quarter of its fall" in test.reason


def test_the_loss_of_each_step_is_that_before_its_update():
    model, other = network(), network()
    test = lr_test(model, batches(), loss_fn, adam(model), steps=20)
    torch.manual_seed(0)
    network()  # draws as many numbers as before the test
    optimizer = adam(other)
    losses = []
    for lr, batch in zip(test.lrs, itertools.cycle(batches()), strict=False):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss = loss_fn(other, batch)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert test.losses == losses
    assert len(losses) >= 10


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
def test_nothing_is_left_behind(name, used):
    """Weights, BatchNorm's averages, gradients, modes, the optimizer's state, lr and the random numbers."""
    model = network()
    optimizer = create_optimizer(name, model.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-6)
    if used:
        for batch in batches(2):
            loss_fn(model, batch).backward()
            optimizer.step()
    model[1].eval()
    before = everything(model, optimizer)
    lr_test(model, batches(), loss_fn, optimizer, steps=30)
    assert_same(everything(model, optimizer), before)
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_torch_is_as_before_whatever_happens():
    before = torch.autograd.backward, torch.amp.GradScaler.scale
    model = network()
    lr_test(model, batches(), loss_fn, adam(model), steps=20)
    with pytest.raises(ZeroDivisionError):
        lr_test(model, batches(), lambda *_: 1 / 0, adam(model))
    assert (torch.autograd.backward, torch.amp.GradScaler.scale) == before


def test_groups_keep_their_ratios():
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[4].parameters(), "lr": 1e-4}]
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append([group["lr"] for group in optimizer.param_groups]))
    test = lr_test(model, batches(), loss_fn, optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 1e-4]
    assert [first for first, _ in seen] == test.lrs
    assert all(second == pytest.approx(first / 100) for first, second in seen)


def test_an_lr_that_is_a_tensor():
    model = network()
    lr = torch.tensor(1e-3)
    optimizer = adam(model, lr=lr, foreach=False)
    test = lr_test(model, batches(), loss_fn, optimizer)
    assert len(test.lrs) > 50
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


def test_steps_are_at_most_those_asked_for():
    model, taken = network(), []
    optimizer = adam(model)
    optimizer.register_step_post_hook(lambda *_: taken.append(1))
    test = lr_test(model, batches(), lambda *_: loss_fn(*_) * 0 + sum(p.sum() for p in model.parameters()), optimizer)
    # A loss that falls without end.
    assert len(taken) == len(test.lrs) == 100
    assert test.lrs[-1] == pytest.approx(30)


def test_it_ends_when_the_loss_explodes():
    model = network()
    test = lr_test(model, batches(), lambda *_: (loss_fn(*_) + 1) ** 4, adam(model))
    assert len(test.lrs) < 100


def test_a_loader_with_workers():
    model = network()
    optimizer = adam(model)
    before = everything(model, optimizer)
    loader = torch.utils.data.DataLoader(batches(20), batch_size=None, num_workers=1)
    assert len(lr_test(model, loader, loss_fn, optimizer, steps=20).lrs) >= 10
    assert_same(everything(model, optimizer), before)


def test_a_loss_that_rejects_nan_ends_the_test():
    def strict(model, batch):
        if model[0].weight.abs().max() > 100:
            raise ValueError("no such distribution")
        return loss_fn(model, batch).clamp(max=1.0)

    model = network()
    assert len(lr_test(model, batches(), strict, adam(model)).lrs) > 50


@pytest.mark.parametrize(
    ("batches", "keywords", "message"),
    [
        ([], {}, "batches is empty"),
        (iter(batches()), {}, "batches is exhausted after one pass: use a list or a DataLoader"),
        (batches(), {"steps": 19}, "steps must be at least 20, not 19"),
    ],
)
def test_what_cannot_be_tested(batches, keywords, message):
    model = network()
    with pytest.raises(UserError, match=message):
        lr_test(model, batches, loss_fn, adam(model), **keywords)


def test_an_lr_of_zero():
    model = network()
    with pytest.raises(UserError, match="must be above 0"):
        lr_test(model, batches(), loss_fn, adam(model, lr=0.0))


def test_a_first_loss_that_is_not_finite():
    model = network()
    with pytest.raises(StudyError, match="first step is NaN or infinite"):
        lr_test(model, batches(), lambda *_: loss_fn(*_) / 0, adam(model))


def test_a_loss_without_backward():
    """A loss that does not depend on the weights has no gradient at all: torch says so."""
    model = network()
    with pytest.raises(RuntimeError, match="does not require grad"):
        lr_test(model, batches(), lambda *_: torch.ones(()), adam(model))


def test_it_is_saved_and_loaded(tmp_path):
    model = network()
    test = lr_test(model, batches(), loss_fn, adam(model))
    test.save(tmp_path / "lr_test.json")
    assert LrTest.load(tmp_path / "lr_test.json") == test
