"""Number formats that a CPU's libraries may lack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from epsearch.training import precision
from epsearch.training.precision import autocast

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    precision._has_format.cache_clear()
    yield
    precision._has_format.cache_clear()


def lstm_that(fails: str | None, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Have LSTMs compute outside oneDNN, or fail as oneDNN does where it has none; whether each call had a gradient."""
    calls: list[bool] = []
    forward = torch.nn.LSTM.forward

    def call(self: torch.nn.LSTM, *arguments: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        if fails == "always" or (fails == "evaluating" and not torch.is_grad_enabled()):
            raise RuntimeError(
                "could not create a primitive descriptor for the LSTM forward propagation primitive. Run workload "
                "with environment variable ONEDNN_VERBOSE=all to get additional diagnostic information."
            )
        onednn: Any = torch.backends.mkldnn
        before, onednn.enabled = onednn.enabled, False
        try:
            return forward(self, *arguments)
        finally:
            onednn.enabled = before

    monkeypatch.setattr(torch.nn.LSTM, "forward", call)
    return calls


@pytest.mark.parametrize("name", precision.MIXED)
@pytest.mark.parametrize("fails", [None, "always", "evaluating"])
def test_onednn_is_used_where_its_lstm_works(name: str, fails: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever torch reports of the CPU: it has float16 instructions where oneDNN has no float16 LSTM."""
    lstm_that(fails, monkeypatch)
    for capability in ("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"):
        monkeypatch.setattr(torch.ops.mkldnn, capability, lambda: fails is not None)
    before = torch.backends.mkldnn.enabled
    with autocast(name, CPU):
        assert torch.backends.mkldnn.enabled == (before and fails is None)
    assert torch.backends.mkldnn.enabled == before


def test_each_format_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = lstm_that(None, monkeypatch)
    for name in (*precision.MIXED, *precision.MIXED, "float32"):
        with autocast(name, CPU), torch.no_grad():
            pass
    assert calls == [True, False] * len(precision.MIXED), "training and evaluating, also when entered without gradients"


@pytest.mark.parametrize("name", precision.MIXED)
def test_trying_draws_no_random_numbers(name: str) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with autocast(name, CPU):
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", precision.MIXED)
def test_an_lstm_runs_in_it(name: str) -> None:
    """On whatever CPU this is."""
    lstm = torch.nn.LSTM(8, 8)
    with autocast(name, CPU):
        output, _ = lstm(torch.randn(5, 2, 8))
    output.float().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in lstm.parameters())  # type: ignore[arg-type]
