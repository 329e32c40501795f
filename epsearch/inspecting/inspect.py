"""Read ẑ from a checkpoint of any training."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from epsearch.core.errors import UserError
from epsearch.core.messages import listed
from epsearch.inspecting import distributed, torch_files
from epsearch.inspecting.families import class_name, family_of, reader_of
from epsearch.inspecting.saved import SavedOptimizer
from epsearch.probing.measure import Term, group_settings, summarize
from epsearch.records.kinds import kinds_of
from epsearch.records.probe import ProbeResult, RangeKind

IN_FOLDERS = ("optimizer.pt", "optimizer.bin", "optim.pt")
"""The optimizer's file in a folder: Hugging Face's Trainer, Accelerate."""

FOLDERS = ("optimizer_0", "optimizer", "optim")
"""The optimizer's folder of DCP in a folder: Accelerate with FSDP."""


def inspect(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    optimizer: str | None = None,
    range: RangeKind = "pooled",
    percentiles: Sequence[float] = (2, 98),
    exclude: Sequence[str] = (),
) -> ProbeResult:
    """Read ẑ from the optimizer's state in a checkpoint, without the training's code.

    `path` is a file of `torch.save` with `optimizer.state_dict()` or a dictionary that holds one, a checkpoint of
    Lightning, or a folder of Hugging Face's Trainer or of torch.distributed.checkpoint (DCP). Nothing but data is
    loaded (`weights_only=True`), and no more than a tensor at a time. `range`, `percentiles` and `exclude` are those
    of `measure`.

    Tensors are named by the model saved with the optimizer. For Hugging Face's folders this needs Transformers, since
    their weights are not in the model's order. Without a model that fits, they are called `group0.param3`, and their
    `kind` follows from the shape.

    Args:
        key: The optimizer, if the checkpoint has several, such as `optimizer_states.1`.
        optimizer: The optimizer's name as in a study file. Default: recognized by its state; EAdam, AdaMomentum and
            LAMB look like Adam.

    Raises:
        UserError: the checkpoint cannot be read, has no or several optimizers, or nothing could be measured.
    """
    place = Path(path)
    saved = _chosen(place, _optimizers_in(place), key, optimizer)
    family = family_of(saved, optimizer)
    read = reader_of(family)
    kinds = kinds_of({tensor.name: tensor.shape for tensor in saved.tensors})
    group = next((tensor.group for tensor in saved.tensors if tensor.state), {})
    if any(tensor.name == "group0.param0" for tensor in saved.tensors):
        warnings.warn(
            f"{place}: the tensors have no names, because no model is saved with the optimizer in the same order; "
            "their classes follow from shapes.",
            stacklevel=2,
        )
    try:
        return summarize(
            [Term(tensor.name, kinds[tensor.name], functools.partial(read, tensor)) for tensor in saved.tensors],
            optimizer=class_name(family, group),
            range=range,
            percentiles=percentiles,
            exclude=exclude,
            settings=group_settings(group),
        )
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _optimizers_in(path: Path) -> list[SavedOptimizer]:
    if not path.is_dir():
        return torch_files.optimizers_in(path)
    for folder in (path, *(path / name for name in FOLDERS)):
        if (folder / distributed.METADATA).is_file():
            return distributed.optimizers_in(folder)
    for name in IN_FOLDERS:
        if (path / name).is_file():
            return torch_files.optimizers_in(path / name)
    inside = sorted(file.name for file in path.iterdir())
    raise UserError(
        f"{path}: is neither a folder of torch.distributed.checkpoint (it has no {distributed.METADATA}) nor one of "
        f"Hugging Face's Trainer (no {IN_FOLDERS[0]}); it holds {', '.join(inside[:8]) or 'nothing'}. "
        "Name the file or folder with the optimizer's state."
    )


def _chosen(path: Path, found: Sequence[SavedOptimizer], key: str | None, optimizer: str | None) -> SavedOptimizer:
    """The optimizer to read: that at `key`, or the only one that can be read."""
    if key is not None:
        for saved in found:
            if saved.key == key:
                return saved
        raise UserError(f"{path}: has no optimizer at {key!r}, only at {listed([repr(each.key) for each in found])}.")
    readable = []
    for saved in found:
        try:
            family_of(saved, optimizer)
        except UserError as error:
            refused = error
        else:
            readable.append(saved)
    if not readable:
        raise UserError(f"{path}: {refused}")
    if len(readable) > 1:
        keys = listed([each.key for each in readable])
        raise UserError(f"{path}: holds {len(readable)} optimizers, at {keys}; choose one with key=… (--key).")
    return readable[0]
