"""Which exceptions end the process that met them."""

from __future__ import annotations

import errno
import pickle

import pytest
import torch

from epsearch.core.errors import ProcessUnusable
from epsearch.records.trial import Ending
from epsearch.training.faults import ends_process

CUDA_ASSERT = (
    "CUDA error: device-side assert triggered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
CUDA_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.80 GiB of which 1.50 GiB is "
    "free. Process 7 has 138.00 GiB memory in use. " + "See documentation for Memory Management. " * 9
)

BROKEN = [
    RuntimeError(CUDA_ASSERT),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle )`"),
    RuntimeError("CUDA driver error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("HIP error: the operation cannot be performed in the present state"),
]
if hasattr(torch, "AcceleratorError"):
    BROKEN.append(torch.AcceleratorError(CUDA_ASSERT))


def cpu_allocator() -> RuntimeError:
    """As torch raises it."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    return caught.value


OUT_OF_GPU_MEMORY = [
    torch.OutOfMemoryError(CUDA_MEMORY),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]
OUT_OF_MEMORY = [
    cpu_allocator(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 80000 bytes."),
    RuntimeError("unable to mmap 400 bytes from file </torch_7>: Cannot allocate memory (12)"),
    RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
    MemoryError("Unable to allocate 8.00 EiB for an array"),
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
OF_THE_CODE = [
    ValueError("CUDA error: as a text of another exception"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear for a non-contiguous input."),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx( handle )`"),
    OSError(errno.ENOENT, "No such file or directory"),
    EOFError(),
]


@pytest.mark.parametrize("error", BROKEN, ids=repr)
def test_a_broken_gpu_ends_the_process(error: Exception) -> None:
    reason = ends_process(error)
    assert reason is not None
    assert reason.startswith("the GPU can no longer be used by this process (")
    assert str(error).splitlines()[0] in reason


@pytest.mark.parametrize("error", OUT_OF_GPU_MEMORY, ids=lambda error: str(error)[:40])
def test_gpu_memory_that_ran_out_ends_the_process(error: Exception) -> None:
    reason = ends_process(error)
    assert reason is not None
    assert reason.startswith("out of GPU memory (")
    assert "fewer workers per GPU (engine.workers, engine.resources.gpu) or a smaller training.batch_size" in reason


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:40])
def test_memory_that_ran_out_ends_the_process(error: Exception) -> None:
    reason = ends_process(error)
    assert reason is not None
    assert reason.startswith("out of memory (")
    assert "use fewer workers (engine.workers" in reason


@pytest.mark.parametrize("error", [*BROKEN, *OUT_OF_GPU_MEMORY, *OUT_OF_MEMORY], ids=lambda error: str(error)[:40])
def test_a_reason_is_one_short_line(error: Exception) -> None:
    reason = ends_process(error)
    assert reason is not None
    assert "\n" not in reason
    assert len(reason) < 400


@pytest.mark.parametrize("error", OF_THE_CODE, ids=repr)
def test_other_errors_leave_the_process(error: Exception) -> None:
    assert ends_process(error) is None


def test_what_an_error_was_raised_from_counts() -> None:
    outer = KeyError("batch")
    outer.__cause__ = ValueError("in between")
    outer.__cause__.__cause__ = torch.OutOfMemoryError(CUDA_MEMORY)
    reason = ends_process(outer)
    assert reason is not None
    assert "CUDA out of memory" in reason


def test_a_circle_of_causes_ends() -> None:
    error = ValueError("one")
    error.__cause__ = KeyError("two")
    error.__cause__.__cause__ = error
    assert ends_process(error) is None


def test_a_gpu_that_cannot_be_synchronized_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's code may catch the error of the GPU, or meet another one first."""

    broken, synchronized = {1}, []

    def synchronize(device: int) -> None:
        synchronized.append(device)
        if device in broken:
            raise RuntimeError(CUDA_ASSERT)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2**20 * (device < 2))
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert (
        ends_process(KeyError("x"))
        == "the GPU can no longer be used by this process (CUDA error: device-side assert triggered)"
    )
    broken.clear()
    assert ends_process(KeyError("x")) is None
    assert synchronized == [0, 1] * 2, "a GPU that is not used is left alone"


def test_the_reason_and_the_endings_reach_the_driver() -> None:
    sent = ProcessUnusable("out of memory", [Ending(kind="finished"), None])
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is ProcessUnusable
    assert str(received) == "out of memory"
    assert received.endings == (Ending(kind="finished"), None)
