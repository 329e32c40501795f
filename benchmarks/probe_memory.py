"""Measure the peak memory of `epsearch.measure` beyond the optimizer's own state.

The high-water mark of resident memory (VmHWM of /proc/self/status) is reset just before ẑ is read, and compared with
resident memory at that point; each row runs in a separate process. Linux only.

    python benchmarks/probe_memory.py [ELEMENTS]
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import platform
import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from epsearch import create_optimizer, measure

MIB = 1 << 20
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Adam": ("adam", {}),
    "AdaBelief": ("adabelief", {}),
    "RMSprop": ("rmsprop", {}),
    "RMSprop, centered: its term is formed first": ("rmsprop", {"centered": True}),
}


def status(key: str) -> int:
    """Bytes."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def peak_above(function: Callable[[], object]) -> int:
    """The largest growth of resident memory while `function` ran, in bytes."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory would be reused and not be counted
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = status("VmRSS")
    function()
    return status("VmHWM") - before


def stepped(name: str, elements: int, tensors: int, **keywords: Any) -> torch.optim.Optimizer:
    params = [torch.nn.Parameter(torch.zeros(elements // tensors)) for _ in range(tensors)]
    optimizer = create_optimizer(name, params, lr=1e-3, **keywords)
    for p in params:
        p.grad = torch.empty_like(p).normal_(-8, 1.7).exp_()
    optimizer.step()
    for p in params:
        p.grad = None
    return optimizer


def case(name: str, elements: int, tensors: int, keywords: dict[str, Any]) -> tuple[int, int]:
    """Bytes of the optimizer's state, and of the peak beyond it."""
    measure(stepped("adam", 10**6, 1))  # loads and allocates what is needed once
    optimizer = stepped(name, elements, tensors, **keywords)
    kept = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
    return sum(tensor.nbytes for tensor in kept), peak_above(lambda: measure(optimizer))


def main() -> None:
    elements = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**8
    title = f"{elements:.0e} parameters in float32"
    table = Table("optimizer", "tensors", "optimizer state, MiB", "peak of measure beyond it, MiB", title=title)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for label, (name, keywords) in OPTIMIZERS.items():
            for tensors in (1, 100):
                state, peak = pool.submit(case, name, elements, tensors, keywords).result()
                table.add_row(label, str(tensors), f"{state / MIB:.0f}", f"{peak / MIB:.1f}")
    console = Console(width=110)
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")
    console.print(table)


if __name__ == "__main__":
    main()
