"""Real architectures with tensors of rounding noise: the pooled range is short, and the noise is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from epsearch.records.outliers import explain_ranges

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def architectures(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import architectures

    yield architectures
    for name in ("architectures", "reproduction"):
        sys.modules.pop(name)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "width", "noise"),
    [
        ("BERT", 128, "bert.encoder.layer.*.attention.self.key.bias (2 tensors"),
        ("GPT-2", 128, "transformer.h.*.attn.c_attn.bias (2 tensors"),
        ("ViT", 128, "encoder.layers.encoder_layer_*.self_attention.in_proj_bias (2 tensors"),
        ("convolutions", 32, "0.0.bias and 1.0.bias (2 tensors"),
    ],
)
def test_the_pooled_range_is_short_and_the_noise_is_named(
    name: str, width: int, noise: str, architectures: ModuleType
) -> None:
    pytest.importorskip("transformers")
    result = architectures.probed(name, 2, width)
    assert 4 <= len(result.pooled_range.grid()) <= 7
    assert len(result.paper_range.grid()) >= 7
    explained = explain_ranges(result)
    assert noise in explained
    assert "typical of rounding noise" in explained
