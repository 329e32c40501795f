"""A worker process before it trains: its threads, and how the C library keeps memory for it."""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 << 20
"""glibc takes no larger one."""


def prepare_process(threads: int) -> None:
    """Import torch with so many CPU threads, in a process that trains and ends."""
    # Before torch is imported: its thread pools read this once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next step, which asks for the same sizes again.

    By default it hands large blocks back to the kernel, and each step waits for their pages to be zeroed anew. Where
    the C library is another one, nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
