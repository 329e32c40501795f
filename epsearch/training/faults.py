"""Exceptions after which a process must not train again: out of memory, or a broken GPU context.

A corrupted CUDA context stays corrupted: every later call in the process fails. A process that ran out of memory will
run out again, since it keeps what it has cached.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

import torch

_ACCELERATOR_ERROR: type[BaseException] | tuple[()] = getattr(torch, "AcceleratorError", ())

_OUT_OF_MEMORY = re.compile(
    r"out of memory|DefaultCPUAllocator|STATUS_ALLOC_FAILED|Cannot allocate memory|killed by signal: Killed"
)
"""Text of torch's RuntimeErrors: from CUDA and MPS, the CPU allocator, cuDNN and cuBLAS, a shared memory map, a
DataLoader whose worker the kernel killed."""

_ACCELERATOR = re.compile(r"(CUDA|CUDA driver|cuDNN|cuBLAS|HIP) error\b")

_REFUSED = re.compile(r"STATUS_(NOT_SUPPORTED|INVALID_VALUE|BAD_PARAM)")
"""A library rejected its arguments; the context is intact."""

_QUOTED = 160
"""Number of characters of the error quoted in a reason."""


def ends_process(error: BaseException) -> str | None:
    """Why the process must not train again after `error`, in one line; None if it may.

    An error of the user's code may be the first sign of a broken GPU context. If the text does not show it, the GPUs
    in use are synchronized, which fails in a broken context.
    """
    for link in _causes(error):
        text = str(link)
        if _out_of_memory(link, text):
            where = "GPU memory" if _on_gpu(link, text) else "memory"
            workers = "fewer workers per GPU" if where == "GPU memory" else "fewer workers"
            return (
                f"out of {where} ({_first_sentence(text) or type(link).__name__}); use {workers} "
                "(engine.workers, engine.resources.gpu) or a smaller training.batch_size"
            )
        if _accelerator(link, text):
            return _broken(text)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        try:
            for device in range(torch.cuda.device_count()):
                # Synchronizing an unused GPU would create a context on it.
                if torch.cuda.memory_reserved(device):
                    torch.cuda.synchronize(device)
        except RuntimeError as broken:
            return _broken(str(broken))
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the chain of errors it was raised `from`."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _out_of_memory(error: BaseException, text: str) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(text) is not None


def _on_gpu(error: BaseException, text: str) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or re.match(r"(CUDA|cuDNN|cuBLAS|HIP|MPS)\b", text) is not None


def _accelerator(error: BaseException, text: str) -> bool:
    if isinstance(error, _ACCELERATOR_ERROR):
        return True
    return isinstance(error, RuntimeError) and _ACCELERATOR.match(text) is not None and not _REFUSED.search(text)


def _broken(text: str) -> str:
    return f"the GPU can no longer be used by this process ({_first_sentence(text)})"


def _first_sentence(text: str) -> str:
    """The first line of torch's errors; advice and stack frames follow it."""
    first = (text.strip().splitlines() or [""])[0].strip().rstrip(".")
    return first if len(first) <= _QUOTED else f"{first[: _QUOTED - 1]}…"
