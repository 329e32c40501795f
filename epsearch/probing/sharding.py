"""Models trained by several ranks: what each rank holds, and how all ranks get the same result.

FSDP2 (`fully_shard`) and tensor parallelism keep parameters and optimizer state as DTensors: each rank holds a shard,
which may be uneven or empty. With DDP every rank holds the whole state, and nothing needs to be summed. Ranks exchange
only counts, and take the same branches because they branch only on sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from epsearch.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch.distributed.tensor import DTensor


def _as_dtensor(tensor: torch.Tensor) -> DTensor | None:
    # Without a process group there are no DTensors; avoid the import.
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    from torch.distributed.tensor import DTensor

    return tensor if isinstance(tensor, DTensor) else None


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """The elements on this rank: all of them unless `tensor` is a DTensor."""
    sharded = _as_dtensor(tensor)
    return tensor if sharded is None else sharded.to_local()


def sum_over_shards(counts: NDArray[np.int64], tensor: torch.Tensor) -> NDArray[np.int64]:
    """Sum the ranks' counts of their parts of `tensor`; every rank gets the sum.

    All ranks that hold a shard of `tensor` must call this together. Mesh dimensions along which the tensor is
    replicated (hybrid sharding) are not summed, since every copy is counted in full.
    """
    sharded = _as_dtensor(tensor)
    if sharded is None:
        return counts
    if any(placement.is_partial() for placement in sharded.placements):
        raise UserError("a denominator term is a DTensor of partial sums: its reader must redistribute it.")
    mesh = sharded.device_mesh
    total = torch.from_numpy(counts).to(mesh.device_type)  # the device that the group's backend supports
    for dimension, placement in enumerate(sharded.placements):
        if not placement.is_replicate():
            torch.distributed.all_reduce(total, group=mesh.get_group(dimension))
    merged: NDArray[np.int64] = total.cpu().numpy()
    return merged


def on_any_rank(flag: bool, model: torch.nn.Module) -> bool:
    """Whether `flag` is true on any rank that trains `model`; all these ranks must call this together."""
    for device, group in _groups(model):
        total = torch.tensor(int(flag), device=device)
        torch.distributed.all_reduce(total, group=group)
        flag = bool(total)
    return flag


def _groups(model: torch.nn.Module) -> Iterator[tuple[torch.device, torch.distributed.ProcessGroup]]:
    if isinstance(model, torch.nn.parallel.DistributedDataParallel):
        yield next(model.parameters()).device, model.process_group
    sharded = [_as_dtensor(parameter) for parameter in model.parameters()]
    # A dict, unlike a set, has one order on every rank.
    for mesh in {parameter.device_mesh: None for parameter in sharded if parameter is not None}:
        for dimension in range(mesh.ndim):
            yield torch.device(mesh.device_type), mesh.get_group(dimension)


def inner_model(model: torch.nn.Module) -> torch.nn.Module:
    """The model inside DDP, which would prefix every tensor's name with `module.`; any other model unchanged.

    Raises:
        UserError: the model is sharded by FSDP1, whose flat state does not map back to tensors.
    """
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise UserError(
            "the optimizer's state under FullyShardedDataParallel (FSDP1) cannot be read; shard the model with "
            "torch.distributed.fsdp.fully_shard (FSDP2)."
        )
    return model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model


def reshard(model: torch.nn.Module) -> None:
    """Make FSDP2 restore its sharded parameters: an evaluation may have left gathered ones in place."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
