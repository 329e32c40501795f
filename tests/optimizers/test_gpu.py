"""The implementations that a GPU has of its own: ẑ is read from them as from the CPU's."""

import numpy as np
import pytest
import torch

from epsearch import create_optimizer, measure
from epsearch.registry.optimizers import ADAPTIVE
from tests.optimizers.drive import BETAS, LR, gradients, has_option, parameters, read_z, step_through, trained, weights

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)

CASES = [
    (name, variant)
    for name in ADAPTIVE
    for variant in (None, "foreach", "fused", "capturable")
    if variant is None or has_option(name, variant)
]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_measures_as_on_the_cpu(name, variant):
    params = [torch.nn.Parameter(p.detach().cuda()) for p in parameters(weights())]
    options = {variant: True} if variant else {}
    optimizer = create_optimizer(name, params, lr=LR, betas=BETAS, eps=1e-8, **options)
    step_through(optimizer, params, gradients())
    usual, others = trained(name)
    for p, q in zip(params, others, strict=True):
        atol = 1e-14 if name == "adamax" else 0
        np.testing.assert_allclose(read_z(optimizer, p), read_z(usual, q), rtol=1e-4, atol=atol)
    on_gpu, on_cpu = measure(optimizer), measure(usual)
    assert on_gpu.range == on_cpu.range
    assert on_gpu.histogram.total == on_cpu.histogram.total
