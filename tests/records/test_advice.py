"""The sentences about an ε in use."""

import numpy as np
import pytest

from epsearch.records.advice import advice, class_rows, share
from tests.records.test_damping import probed


def using(eps, result, **settings):
    return result.model_copy(update={"settings": {"eps": eps, **settings}})


# In the middle of the histogram's bins: 5.1e-3, 1.6e-5 and 1.0e-2.
MLP, EMBEDDING, BIAS = (10 ** (middle / 50) for middle in (-114.5, -239.5, -99.5))
NETWORK = probed(mlp=np.full(1000, MLP), embedding=np.full(50, EMBEDDING), bias=np.full(9, BIAS))


def test_an_eps_that_is_too_large():
    (sentence,) = advice(using(1e-5, NETWORK))
    assert sentence == (
        "ε = 1e-5 takes 38 % of the update of the embeddings and at most 0.19 % elsewhere; "
        "1e-7 would take at most 0.61 %."
    )


def test_for_several_classes():
    (sentence,) = advice(using(1e-3, NETWORK))
    assert sentence.startswith(
        "ε = 1e-3 takes 98 % of the update of the embeddings, 16 % of the MLPs and 8.9 % of the biases; 1e-7"
    )


def test_a_harmless_one():
    (sentence,) = advice(using(1e-8, NETWORK))
    assert sentence == (
        "ε = 1e-8 takes at most 0.062 % of the update of any class of tensors: it is harmless, "
        "and so is any ε up to 1e-7."
    )


@pytest.mark.parametrize("eps", [None, 0.0])
def test_without_an_eps_in_use(eps):
    assert advice(using(eps, NETWORK)) == ["ε up to 1e-7 takes at most 1 % of the update of any class of tensors."]


def test_noise_is_named():
    noise = {f"bias_of_key_{index}": np.full(4, 1e-11) for index in range(5)}
    sentences = advice(using(1e-8, probed(mlp=np.geomspace(1e-4, 1e-2, 1000), **noise)))
    assert sentences[-1].endswith("rounding): bias_of_key_0, bias_of_key_1, bias_of_key_2 and 2 more.")


@pytest.mark.parametrize(
    ("dtype", "eps", "said"),
    [
        ("float16", 1e-8, "rounds to 0 in float16"),
        ("float16", 1e-6, "below what float16, the dtype of the optimizer's state, can hold of ẑ"),
        ("float16", 1e-3, None),
        ("bfloat16", 1e-41, "rounds to 0 in bfloat16"),
        ("bfloat16", 1e-8, None),
        ("float32", 1e-30, "below what float32"),
        (None, 1e-15, None),
    ],
)
def test_what_the_state_cannot_hold(dtype, eps, said):
    first, *rest = advice(using(eps, NETWORK, dtype=dtype))
    assert "harmless" in first or eps > 1e-7
    assert [said in sentence for sentence in rest] == ([True] if said else [])


@pytest.mark.parametrize(
    ("value", "text"), [(0.384, "38 %"), (1.0, "100 %"), (0.002, "0.2 %"), (1e-6, "less than 0.01 %")]
)
def test_shares(value, text):
    assert share(value) == text


def test_the_table_by_class():
    assert list(class_rows(using(1e-5, NETWORK))[1]) == [
        "embedding",
        "50",
        "1.6e-5",
        "1.6e-5",
        "1.7e-5",
        "38 %",
        "1e-7",
    ]


def test_the_table_of_a_class_of_noise_has_no_numbers():
    rows = class_rows(probed(mlp=np.geomspace(1e-5, 1e-2, 1000), bias=np.full(4, 1e-11)))
    assert list(rows[1]) == ["bias", "4", "", "", "", "", ""]
