"""The tensors that make the paper's range wider than the pooled one, and whether they are rounding noise."""

from __future__ import annotations

import numpy as np
import pytest

from epsearch.records.histogram import Histogram
from epsearch.records.outliers import explain_ranges, far_ends
from epsearch.records.probe import Layer, ProbeResult
from tests.report import sample

DRAW = np.random.default_rng(0)
NOISE = "whose ẑ is far below all others: typical of rounding noise (gradients that are zero but for rounding)"


def around(exponent: float, size: int) -> np.ndarray:
    return 10 ** DRAW.normal(exponent, 0.3, size)


def probe(tensors: dict[str, np.ndarray], kind: str = "pooled") -> ProbeResult:
    layers = [
        Layer(
            name=name,
            numel=len(z),
            zeros=0,
            nonfinite=0,
            p2=float(np.percentile(z, 2)),
            p98=float(np.percentile(z, 98)),
            histogram=sample.histogram(z),
        )
        for name, z in tensors.items()
    ]
    fields = {"optimizer": "Adam", "percentiles": (2, 98), "layers": layers, "range_kind": kind}
    empty = ProbeResult(range={"lower": 1, "upper": 1}, **fields)  # type: ignore[arg-type]
    return empty.model_copy(update={"range": empty.pooled_range if kind == "pooled" else empty.paper_range})


BULK = {f"layer.{i}.{name}.weight": around(-4, 10_000) for i in range(2) for name in ("key", "query")}
KEYS = {f"layer.{i}.key.bias": around(-11, 100) for i in range(2)}
QUERIES = {f"layer.{i}.query.bias": around(-5, 100) for i in range(2)}


def test_nothing_to_explain() -> None:
    result = probe({**BULK, **QUERIES})
    assert explain_ranges(result) == ""
    assert far_ends(result) == ()


def test_noise() -> None:
    result = probe({**BULK, **QUERIES, **KEYS})
    assert explain_ranges(result) == (
        "Algorithm 2 gives 1e-12 to 1e-3: its lower end comes from layer.*.key.bias (2 tensors, 0.50% of the "
        f"elements), {NOISE}."
    )
    assert far_ends(result) == (1e-12,)


def test_the_paper_s_range_is_explained_too() -> None:
    assert explain_ranges(probe({**BULK, **KEYS}, "paper")) == (
        "Pooled over all elements, the range would be 1e-6 to 1e-3: this one's lower end comes from layer.*.key.bias "
        f"(2 tensors, 0.50% of the elements), {NOISE}."
    )


def test_noise_in_a_part_of_a_tensor() -> None:
    """GPT-2 and ViT have the biases of query, key and value in one tensor."""
    one = {"attention.bias": np.concatenate([around(-5, 100), around(-11, 100), around(-3, 100)])}
    assert NOISE in explain_ranges(probe({**BULK, **one}))


def test_gradients_that_are_merely_small() -> None:
    """They trail off, with no empty decades between them and the others."""
    small = {"gate.weight": 10 ** DRAW.uniform(-10, -4, 500)}
    explained = explain_ranges(probe({**BULK, **small}))
    assert "its lower end comes from gate.weight (1 tensor, 1.23% of the elements)." in explained


def test_upper_end() -> None:
    explained = explain_ranges(probe({**BULK, "head.bias": around(0, 10)}))
    assert explained.endswith("its upper end comes from head.bias (1 tensor, 0.02% of the elements).")


def test_names_that_a_pattern_would_not_single_out_are_listed() -> None:
    """0.bias and 3.bias come before a normalization, 5.bias does not: `*.bias` would exclude it too."""
    noise = {f"{i}.bias": around(-11, 20) for i in (0, 3)}
    explained = explain_ranges(probe({**BULK, **noise, "5.bias": around(-4, 20)}))
    assert "comes from 0.bias and 3.bias (2 tensors" in explained


def test_many_names() -> None:
    noise = {f"{name}.bias": around(-11, 5) for name in "abcdef"}
    assert "comes from a.bias, b.bias, c.bias and 3 more (6 tensors" in explain_ranges(probe({**BULK, **noise}))


@pytest.mark.parametrize("kind", ["pooled", "paper"])
def test_a_tensor_of_zeros(kind: str) -> None:
    result = probe({**BULK, **KEYS}, kind)
    zeros = Layer(name="z", numel=9, zeros=9, nonfinite=0, p2=None, p98=None, histogram=Histogram(zeros=9))
    result = result.model_copy(update={"layers": [*result.layers, zeros]})
    assert "layer.*.key.bias" in explain_ranges(result)
