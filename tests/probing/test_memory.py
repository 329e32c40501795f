"""Reading ẑ takes a few MiB beside the optimizer's state, whatever its size."""

import ctypes
import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from epsearch import measure

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ELEMENTS = 10**7
BOUND = 10 << 20
"""A quarter of one copy of v, and a sixth of the 64 MiB allowed at ten times the size."""


def kilobytes(key):
    return int(re.search(rf"{key}:\s+(\d+) kB", STATUS.read_text())[1])


def peak():
    """Bytes that measuring adds to the resident set at its largest."""
    p = torch.nn.Parameter(torch.zeros(ELEMENTS))
    optimizer = torch.optim.Adam([p])
    p.grad = torch.empty_like(p).normal_(-8, 1.7).exp_()
    optimizer.step()
    small = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    small.param_groups[0]["params"][0].grad = torch.ones(1)
    small.step()
    measure(small)  # what is loaded once
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free already would be used again, and not be seen
    RESET.write_text("5")  # VmHWM begins anew
    before = kilobytes("VmRSS")
    measure(optimizer)
    return 1024 * (kilobytes("VmHWM") - before)


@pytest.mark.skipif(not RESET.exists(), reason="needs Linux's /proc")
def test_peak():
    """In a process of its own: other threads and tests move the resident set, too."""
    code = "from tests.probing.test_memory import peak; print(peak())"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) < BOUND
