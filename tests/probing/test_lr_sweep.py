"""A sweep over loops that know nothing of it: lr is set, and the loss is seen, whatever the loop does."""

import pytest
import torch
from torch import nn

from epsearch import UserError
from epsearch.probing.lr_sweep import LrSweep, SweepOver

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)


class Loop:
    """A network, its optimizer, and the lr of every step taken."""

    def __init__(self, steps=40, **keywords):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), **{"lr": 1e-2, **keywords})
        self.taken = []
        self.optimizer.register_step_post_hook(lambda *_: self.taken.append(self.optimizer.param_groups[0]["lr"]))
        self.sweep = LrSweep(steps)
        self.sweep.attach(self.optimizer, 1e-2)

    def loss(self, part=slice(None)):
        return nn.functional.mse_loss(self.model(X[part]), Y[part])

    def result(self, step, most=1000):
        """Of a loop over `step`, which the sweep ends."""
        with self.sweep:
            for _ in range(most):
                step()
            pytest.fail("the sweep did not end the loop")
        return self.sweep.result()


def plain(**keywords):
    loop = Loop(**keywords)

    def step():
        loop.optimizer.zero_grad()
        loop.loss().backward()
        loop.optimizer.step()

    return loop, loop.result(step)


def test_a_plain_loop():
    loop, test = plain()
    assert test.lrs == loop.taken
    assert 30 < len(test.lrs) <= 40


def test_rmsprop_starts_without_its_large_steps():
    """Without bias correction the first of them would be 10 times as large as later ones at that lr."""
    loop = Loop()
    loop.optimizer = torch.optim.RMSprop(loop.model.parameters(), lr=1e-2, alpha=0.99)
    loop.optimizer.register_step_post_hook(lambda *_: loop.taken.append(loop.optimizer.param_groups[0]["lr"]))
    loop.sweep.attach(loop.optimizer, 1e-2)
    before = loop.model[0].weight.detach().clone()
    with loop.sweep:
        loop.loss().backward()
        loop.optimizer.step()
    step = (loop.model[0].weight - before).abs()
    assert loop.taken == [pytest.approx(1e-7)]
    torch.testing.assert_close(step, torch.full_like(step, 1e-6), rtol=0.1, atol=0)


def test_accumulated_losses_are_averaged():
    loop = Loop()

    def step():
        loop.optimizer.zero_grad()
        for part in (slice(0, 32), slice(32, 64)):
            (loop.loss(part) / 2).backward()
        loop.optimizer.step()

    test, (_, alone) = loop.result(step), plain()
    assert test.lrs == alone.lrs
    assert [2 * loss for loss in test.losses] == pytest.approx(alone.losses, rel=1e-4)


def test_a_closure_as_lightning_has():
    loop = Loop()

    def closure():
        loop.optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()
        return loss

    assert loop.result(lambda: loop.optimizer.step(closure)) == plain()[1]


def test_a_schedule_does_not_matter():
    """Not even one whose warm-up sets lr to 0 before the first step."""
    loop = Loop()
    schedule = torch.optim.lr_scheduler.LambdaLR(loop.optimizer, lambda step: step / 100)

    def step():
        loop.optimizer.zero_grad()
        loop.loss().backward()
        nn.utils.clip_grad_norm_(loop.model.parameters(), 1e6)
        loop.optimizer.step()
        schedule.step()

    test, (_, alone) = loop.result(step), plain()
    assert test.lrs == alone.lrs
    assert test.losses == pytest.approx(alone.losses, rel=1e-5)


def test_scaled_losses_are_seen_unscaled():
    loop = Loop()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def step():
        loop.optimizer.zero_grad()
        scaler.scale(loop.loss()).backward()
        scaler.step(loop.optimizer)
        scaler.update()

    test, (_, alone) = loop.result(step), plain()
    assert test.lrs == alone.lrs
    assert test.losses == pytest.approx(alone.losses, rel=1e-4)


def test_a_step_that_the_scaler_skips_is_none():
    loop = Loop()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=10**6)
    seen = []

    def step():
        loop.optimizer.zero_grad()
        loss = loop.loss()
        seen.append(loss.item())
        # Overflows until the scale is lower.
        scaler.scale(loss * 1e5).backward()
        scaler.step(loop.optimizer)
        scaler.update()

    test = loop.result(step)
    assert test.lrs == loop.taken
    assert len(seen) > len(test.losses)


def test_several_losses_at_once():
    loop = Loop()

    def step():
        loop.optimizer.zero_grad()
        torch.autograd.backward([loop.loss() / 4, loop.loss() * 3 / 4])
        loop.optimizer.step()

    assert loop.result(step).losses == pytest.approx(plain()[1].losses, rel=1e-4)


def test_gradient_checkpointing_calls_no_loss_of_its_own():
    loop = Loop()

    def step():
        loop.optimizer.zero_grad()
        inputs = X.clone().requires_grad_()
        outputs = torch.utils.checkpoint.checkpoint(loop.model, inputs, use_reentrant=True)
        nn.functional.mse_loss(outputs, Y).backward()
        loop.optimizer.step()

    assert loop.result(step).losses == pytest.approx(plain()[1].losses, rel=1e-4)


def test_a_loop_that_catches_every_exception_is_ended_all_the_same():
    loop = Loop()

    def step():
        loop.optimizer.zero_grad()
        loop.loss().backward()
        try:
            loop.optimizer.step()
        except Exception:
            pytest.fail("caught")

    loop.result(step)
    with pytest.raises(SweepOver):
        loop.sweep._set_lr(loop.optimizer)


def test_a_group_that_is_added_later():
    loop = Loop()
    late = nn.Parameter(torch.zeros(()))

    def step():
        if len(loop.taken) == 5 and len(loop.optimizer.param_groups) == 1:
            loop.optimizer.add_param_group({"params": [late], "lr": 1e-1})
        loop.optimizer.zero_grad()
        (loop.loss() + late**2).backward()
        loop.optimizer.step()

    test = loop.result(step)
    assert loop.optimizer.param_groups[1]["lr"] == pytest.approx(10 * test.lrs[-1])


def test_a_loop_whose_loss_is_not_seen():
    loop = Loop()

    def step():
        gradients = torch.autograd.grad(loop.loss(), list(loop.model.parameters()))
        for parameter, gradient in zip(loop.model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        loop.optimizer.step()

    with pytest.raises(UserError, match=r"must call loss\.backward\(\)"):
        loop.result(step)
    assert len(loop.taken) == 40


def test_no_step_was_taken():
    loop = Loop()
    with loop.sweep:
        loop.loss().backward()
    with pytest.raises(UserError, match="saw no step of the optimizer"):
        loop.sweep.result()


def test_a_loop_that_ends_early():
    loop = Loop()
    with loop.sweep:
        for _ in range(7):
            loop.loss().backward()
            loop.optimizer.step()
    test = loop.sweep.result()
    assert (len(test.lrs), test.suggestion) == (7, None)
    assert test.reason == "training took only 7 steps; the test needs 20"


@pytest.mark.thorough
def test_a_compiled_model():
    loop = Loop()
    loop.model.compile()

    def step():
        loop.optimizer.zero_grad()
        loop.loss().backward()
        loop.optimizer.step()

    assert loop.result(step).losses == pytest.approx(plain()[1].losses, rel=1e-3)
