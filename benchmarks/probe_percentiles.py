"""Compare epsearch's reading of one tensor with other ways to compute two percentiles.

ẑ = √v of float32 v, spread lognormally over about eight decades. The others compute only the 2nd and 98th percentile of
v; epsearch's row is everything it records about a tensor: both percentiles, zeros, non-finite values, histogram and
exact shares above powers of ten. One core, one interleaved run, ratios taken round by round; every round asserts that
all methods agree on both decades.

    python benchmarks/probe_percentiles.py [ROUNDS] [ELEMENTS ...]

On a GPU, a billion elements are read too, compared with a copy of the tensor within GPU memory.
"""

from __future__ import annotations

import math
import platform
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from epsearch import Denominator
from epsearch.probing.histogram import measure_layer
from epsearch.probing.measure import nearest_power_of_ten

Percentiles = tuple[float, float]
QS = (0.02, 0.98)


def second_moment(elements: int, device: str = "cpu") -> torch.Tensor:
    """Like an optimizer's v: √v has a median near 3e-4 and a standard deviation of 0.75 decades."""
    generator = torch.Generator(device).manual_seed(0)
    v = torch.empty(elements, device=device)
    for piece in v.split(1 << 24):
        piece.normal_(-16, 3.45, generator=generator).exp_()
    return v


def epsearch_layer(v: torch.Tensor) -> Percentiles:
    layer = measure_layer("w", Denominator(v, scale=1.0, power=0.5), (2, 98))
    assert layer.p2 is not None
    assert layer.p98 is not None
    return layer.p2, layer.p98


def torch_quantile(v: torch.Tensor) -> Percentiles:
    low, high = torch.quantile(v, torch.tensor(QS, device=v.device)).sqrt().tolist()
    return low, high


def torch_kthvalue(v: torch.Tensor) -> Percentiles:
    low, high = (math.sqrt(torch.kthvalue(v, 1 + round(q * (len(v) - 1))).values) for q in QS)
    return low, high


def numpy_partition(v: torch.Tensor) -> Percentiles:
    ranks = [round(q * (len(v) - 1)) for q in QS]
    low, high = np.sqrt(np.partition(v.numpy(), ranks)[ranks]).tolist()
    return low, high


def numpy_percentile(v: torch.Tensor) -> Percentiles:
    low, high = np.sqrt(np.percentile(v.numpy(), [2, 98])).tolist()
    return low, high


METHODS: dict[str, Callable[[torch.Tensor], Percentiles]] = {
    "epsearch, all of a layer": epsearch_layer,
    "torch.quantile": torch_quantile,
    "torch.kthvalue, twice": torch_kthvalue,
    "np.partition": numpy_partition,
    "np.percentile": numpy_percentile,
}


def decades(percentiles: Percentiles) -> Percentiles:
    low, high = (nearest_power_of_ten(value) for value in percentiles)
    return low, high


def on_one_core(elements: int, rounds: int) -> Table:
    torch.set_num_threads(1)
    v = second_moment(elements)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(rounds + 1):
        found = {}
        for name, method in METHODS.items():
            began = time.perf_counter()
            found[name] = decades(method(v))
            seconds[name].append(time.perf_counter() - began)
        assert len(set(found.values())) == 1, found
    low, high = decades(epsearch_layer(v))
    title = f"{elements:.0e} elements, range [{low:.0e}, {high:.0e}], {rounds} interleaved rounds after one to warm up"
    table = Table("method", "median ms", "min ms", "max ms", "times epsearch's, median", title=title)
    ours = next(iter(seconds.values()))[1:]
    for name, (_, *measured) in seconds.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(measured, ours, strict=True))
        numbers = (statistics.median(measured), min(measured), max(measured))
        table.add_row(name, *(f"{1e3 * number:.2f}" for number in numbers), f"{ratio:.1f}")
    return table


def on_the_gpu(rounds: int, elements: int = 10**9) -> Table:
    v, other = second_moment(elements, "cuda"), torch.empty(elements, device="cuda")
    methods: dict[str, Callable[[], object]] = {
        "copy within GPU memory": lambda: other.copy_(v),
        "epsearch, all of a layer": lambda: epsearch_layer(v),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds + 1):
        for name, method in methods.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            method()
            torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
    table = Table(
        "method", "median ms", "relative to one read", title=f"{elements:.0e} elements, {rounds} rounds, on a GPU"
    )
    # A copy reads every element once and writes it once.
    reading = statistics.median(seconds["copy within GPU memory"][1:]) / 2
    for name, (_, *measured) in seconds.items():
        median = statistics.median(measured)
        table.add_row(name, f"{1e3 * median:.2f}", f"{median / reading:.1f}")
    return table


def main() -> None:
    rounds, *sizes = (int(float(argument)) for argument in sys.argv[1:] or ["7"])
    console = Console(width=110)
    versions = f"torch {torch.__version__}, NumPy {np.__version__}, Python {platform.python_version()}"
    console.print(f"{versions}, {platform.machine()}, one core")
    for elements in sizes or [10**6, 10**7, 10**8]:
        console.print(on_one_core(elements, rounds))
    if torch.cuda.is_available():
        console.print(torch.cuda.get_device_name())
        console.print(on_the_gpu(rounds))
    else:
        console.print("no GPU found: GPU reading was not measured")


if __name__ == "__main__":
    main()
