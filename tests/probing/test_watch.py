"""Logging ẑ every few steps."""

import warnings

import pytest
import torch

from epsearch import UserError, measure, watch
from epsearch.records.series import series


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def train(model, optimizer, steps, scale=1.0):
    for _ in range(steps):
        optimizer.zero_grad()
        (model(torch.randn(16, 4)).square().mean() * scale).backward()
        optimizer.step()


def start(**keywords):
    model = network()
    return model, torch.optim.AdamW(model.parameters(), **keywords)


def test_logs_what_measure_reads():
    model, optimizer = start()
    logged = []
    watch(optimizer, model, every=2, to=lambda values, step: logged.append((step, values, measure(optimizer, model))))
    train(model, optimizer, 5)
    assert [step for step, *_ in logged] == [2, 4]
    for _, values, result in logged:
        assert values == series(result)
        assert values["epsearch/adaptive_fraction"] == result.adaptive_fraction(1e-8)
        assert values["epsearch/damping/MLP"] == result.damping_by_kind(1e-8)["MLP"]
        assert values["epsearch/z_02/bias"] <= values["epsearch/z_50/bias"] <= values["epsearch/z_98/bias"]
        assert {name.rpartition("/")[2] for name in values} == {
            *("adaptive_fraction", "damping", "MLP", "normalization", "bias")
        }


def test_training_is_unchanged():
    ends = []
    for watched in (False, True):
        model, optimizer = start()
        if watched:
            watch(optimizer, model, every=1, to=lambda *_: None)
        train(model, optimizer, 4)
        ends.append([p.detach() for p in model.parameters()])
    assert all(map(torch.equal, *ends))


def test_a_writer_of_tensorboard():
    class Writer:
        rows = ()

        def add_scalar(self, tag, scalar_value, global_step):
            self.rows = (*self.rows, (tag, global_step))
            assert isinstance(scalar_value, float)

    model, optimizer = start()
    writer = Writer()
    watch(optimizer, model, every=3, to=writer)
    train(model, optimizer, 3)
    assert dict(writer.rows)["epsearch/damping/normalization"] == 3


def test_a_training_that_resumes_and_ends():
    model, optimizer = start()
    steps = []
    handle = watch(optimizer, every=10, step=98, to=lambda _, step: steps.append(step))
    train(model, optimizer, 12)
    handle.remove()
    train(model, optimizer, 12)
    assert steps == [100, 110]


def test_warns_once_of_an_eps_that_takes_much():
    model, optimizer = start(eps=1.0)
    watch(optimizer, model, every=1, to=lambda *_: None)
    with pytest.warns(UserWarning, match=r"step 1: ε = 1e0 takes .* would take at most") as caught:
        train(model, optimizer, 3)
    assert len(caught) == 1
    model, optimizer = start(eps=1e-12)
    watch(optimizer, model, every=1, to=lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, optimizer, 3)


def test_a_training_that_diverged_is_not_ended():
    model, optimizer = start()
    logged = []
    watch(optimizer, model, every=1, to=lambda *both: logged.append(both))
    with pytest.warns(UserWarning, match="step 1 is not logged: the optimizer's denominator term holds nothing"):
        train(model, optimizer, 1, scale=float("nan"))
    assert logged == []


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"every": 0, "to": print}, "every must be at least 1, not 0"),
        ({"to": 3}, "must be a SummaryWriter or"),
    ],
)
def test_mistakes(keywords, message):
    with pytest.raises(UserError, match=message):
        watch(start()[1], **keywords)
    with pytest.raises(UserError, match="cannot read the denominator term"):
        watch(torch.optim.SGD(network().parameters()), to=print)
