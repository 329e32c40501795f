"""The loss in chunks is the plain one, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from epsearch.workloads.language import token_loss as module
from epsearch.workloads.language.token_loss import token_loss


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks for small tensors too: of 7 rows, which 45 rows do not fill."""
    if not hasattr(nn, "LinearCrossEntropyOptions"):
        pytest.skip("this torch has no chunked cross-entropy")
    monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(module, "CHUNK", 7)


def example(bias: bool = True, dtype: torch.dtype = torch.float64) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    decoder = nn.Linear(11, 30, bias=bias, dtype=dtype)
    return decoder, torch.randn(9, 5, 11, dtype=dtype, requires_grad=True), torch.randint(30, (9, 5))


def plain(decoder: nn.Linear, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The slow, obvious twin."""
    logits = decoder(features)
    picked = [torch.log_softmax(logits[t, b], 0)[targets[t, b]] for t in range(9) for b in range(5)]
    return -torch.stack(picked).mean()


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [1.0, 65536.0])
def test_loss_and_gradients_are_the_twin_s(bias: bool, scale: float) -> None:
    decoder, features, targets = example(bias)
    leaves = [features, *decoder.parameters()]
    found, expected = (
        (loss.detach(), *torch.autograd.grad(loss * scale, leaves))
        for loss in (token_loss(decoder, features, targets), plain(decoder, features, targets))
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("chunked")
def test_a_certain_mistake_costs_what_it_should() -> None:
    """Where the probability underflows, the loss is large, not infinite."""
    decoder, features, targets = example(dtype=torch.float32)
    with torch.no_grad():
        decoder.bias[:] = torch.where(torch.arange(30) == targets[0, 0], -1e4, 0.0)
    assert token_loss(decoder, features, targets).item() == pytest.approx(
        F.cross_entropy(decoder(features).flatten(0, 1), targets.flatten()).item()
    )


@pytest.mark.usefixtures("chunked")
def test_nothing_is_kept_without_gradients() -> None:
    decoder, features, targets = example()
    with torch.no_grad():
        loss = token_loss(decoder, features, targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(decoder, features, targets).detach())


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_loss_is_float32(dtype: torch.dtype) -> None:
    decoder, features, targets = example(dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        loss = token_loss(decoder, features.to(dtype), targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(plain(decoder, features, targets).item(), rel=1e-2)
    loss.backward()
    assert decoder.weight.grad is not None
    assert decoder.weight.grad.dtype == torch.float32


def test_it_is_chunked_where_that_is_faster() -> None:
    """Penn TreeBank's batch, in chunks that do not fill; a text of characters is not worth it."""
    torch.manual_seed(0)
    decoder, features = nn.Linear(8, 10_000), torch.randn(20, 20, 8, requires_grad=True)
    targets = torch.randint(10_000, (20, 20))
    loss = token_loss(decoder, features, targets)
    if hasattr(nn, "LinearCrossEntropyOptions"):
        assert "linear_cros" in str(loss.grad_fn)
    expected = F.cross_entropy(decoder(features).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected)
    assert "NllLoss" in str(token_loss(nn.Linear(8, 100), features, targets % 100).grad_fn)
