"""Measure what `epsearch.inspect` takes to read a large optimizer state: time, and memory beside the file.

The state of Adam in float32 (8 bytes a parameter), with the shapes of a transformer, is written as a file of torch.save
and as a folder of torch.distributed.checkpoint. Each is read with a cold and with a warm page cache, plainly in blocks
of 16 MiB and by `inspect`. Memory is the peak of anonymous memory (RssAnon) in a process of its own, beyond what it has
after its imports; pages of the mapped file (RssFile) are shown beside it: the kernel drops them when it needs memory.
Linux only.

    python benchmarks/inspect_cost.py [PARAMETERS] [FOLDER]
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from rich.console import Console
from rich.table import Table

import epsearch

GIB = 1 << 30
WIDTH = 2048


def shapes(parameters: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """About so many parameters: an embedding of a tenth of them, and blocks of 12 · WIDTH²."""
    words = parameters // 10 // WIDTH
    yield "tok_embeddings.weight", (words, WIDTH)
    for block in range(max(1, round((parameters - words * WIDTH) / (12 * WIDTH**2)))):
        for name in ("wq", "wk", "wv", "wo"):
            yield f"layers.{block}.attention.{name}.weight", (WIDTH, WIDTH)
        yield f"layers.{block}.feed_forward.w1.weight", (4 * WIDTH, WIDTH)
        yield f"layers.{block}.feed_forward.w2.weight", (WIDTH, 4 * WIDTH)
        yield f"layers.{block}.norm.weight", (WIDTH,)


def write(folder: Path, parameters: int) -> tuple[int, int]:
    """Write both forms; return the number of parameters and of bytes. Tensors are in mapped files, not in memory."""
    named = list(shapes(parameters))
    scratch = folder / "scratch"
    scratch.mkdir()
    some = torch.empty(1 << 24).normal_(-18, 3).exp_()
    state = {}
    for index, (_, shape) in enumerate(named):
        count = torch.Size(shape).numel()
        pair = [torch.from_file(str(scratch / f"{index}-{i}"), shared=True, size=count) for i in range(2)]
        for values in pair:
            for piece in torch.split(values, len(some)):
                piece.copy_(some[: len(piece)])
        moments = {key: values.view(shape) for key, values in zip(("exp_avg", "exp_avg_sq"), pair, strict=True)}
        state[index] = {"step": torch.tensor(1000.0), **moments}
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False, "decoupled_weight_decay": True}
    names = [name for name, _ in named]
    whole = {"state": state, "param_groups": [{**group, "params": list(range(len(named))), "param_names": names}]}
    torch.save({"optimizer": whole}, folder / "state.pt")
    by_name = {
        "state": dict(zip(names, state.values(), strict=True)),
        "param_groups": [{**group, "params": names}],
    }
    dcp.save({"optimizer": by_name}, checkpoint_id=folder / "dcp", no_dist=True)
    shutil.rmtree(scratch)
    os.sync()
    return sum(torch.Size(shape).numel() for _, shape in named), (folder / "state.pt").stat().st_size


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir()) if path.is_dir() else [path]


def forget(path: Path) -> None:
    """Drop the file from the page cache."""
    for file in files_of(path):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_once(path: Path) -> None:
    block = bytearray(16 << 20)
    for file in files_of(path):
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(block):
                pass


def memory() -> dict[str, int]:
    """Bytes of resident memory, anonymous and of mapped files."""
    status = Path("/proc/self/status").read_text()
    return {key: int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) * 1024 for key in ("RssAnon", "RssFile")}  # type: ignore[index]


def inspected(path: Path, small: Path) -> dict[str, Any]:
    """Seconds in all and of the CPU, and the largest growth of both kinds of memory."""
    epsearch.inspect(small)  # loads and allocates what is needed once
    before, peak, done = memory(), memory(), threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            now = memory()
            peak.update({key: max(peak[key], now[key]) for key in peak})

    thread = threading.Thread(target=watch)
    thread.start()
    began, cpu = time.perf_counter(), time.process_time()
    result = epsearch.inspect(path)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    done.set()
    thread.join()
    grown = {key: peak[key] - before[key] for key in peak}
    return {"seconds": seconds, "cpu": cpu, **grown, "elements": sum(layer.numel for layer in result.layers)}


def main() -> None:
    parameters = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**9
    folder = Path(tempfile.mkdtemp(dir=sys.argv[2] if len(sys.argv) > 2 else None))
    try:
        needed = 3 * 8 * parameters
        if shutil.disk_usage(folder).free < 1.2 * needed:
            sys.exit(f"{folder} needs {1.2 * needed / GIB:.0f} GiB of free space.")
        (folder / "few").mkdir()
        write(folder / "few", 10**6)
        count, size = write(folder, parameters)
        title = f"Adam's state of {count:.3g} parameters, {size / GIB:.2f} GiB"
        columns = (
            "form",
            "cache",
            "read once, s",
            "inspect, s",
            "ratio",
            "its CPU, s",
            "memory, MiB",
            "mapped file, MiB",
        )
        table = Table(*columns, title=title)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
            for form in ("state.pt", "dcp"):
                for cache in ("cold", "warm"):
                    path = folder / form
                    seconds = []
                    for _ in range(2 if cache == "warm" else 1):
                        if cache == "cold":
                            forget(path)
                        began = time.perf_counter()
                        read_once(path)
                        seconds.append(time.perf_counter() - began)
                    if cache == "cold":
                        forget(path)
                    found = pool.submit(inspected, path, folder / "few" / form).result()
                    assert found["elements"] == count
                    once, taken = min(seconds), found["seconds"]
                    numbers = (once, taken, taken / once, found["cpu"])
                    sizes = (f"{found[key] / (1 << 20):.0f}" for key in ("RssAnon", "RssFile"))
                    table.add_row(form, cache, *(f"{number:.2f}" for number in numbers), *sizes)
    finally:
        shutil.rmtree(folder)
    console = Console(width=120)
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")
    console.print(table)


if __name__ == "__main__":
    main()
