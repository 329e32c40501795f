"""Setup of a worker process: its threads and the C library's memory settings."""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 << 20
"""The largest value that glibc accepts."""


def prepare_process(threads: int) -> None:
    """Import torch with this number of CPU threads; for worker processes only."""
    # Before importing torch: its thread pools read this once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step, which allocates the same sizes again.

    By default glibc returns large blocks to the kernel, and each step waits for their pages to be zeroed again. Has no
    effect with another C library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
