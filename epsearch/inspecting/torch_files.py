"""Optimizer state in a file of `torch.save`: alone, or in a dictionary of a training's state."""

from __future__ import annotations

import errno
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from epsearch.core.errors import UserError
from epsearch.core.messages import one_line
from epsearch.inspecting.huggingface import parameters_in
from epsearch.inspecting.names import Ordered, assign, parameters_of
from epsearch.inspecting.saved import SavedOptimizer, SavedTensor, Shape, largest

DEPTH = 4
"""Levels of dictionaries and lists that are searched for an optimizer."""


def optimizers_in(path: Path) -> list[SavedOptimizer]:
    """All optimizers in the file, whose tensors stay in it until they are used.

    Raises:
        UserError: it is not a file that torch can load without running code, or it has no optimizer state.
    """
    data = _load(path)
    found = list(_states(data))
    if not found:
        keys = ", ".join(str(key) for key in list(data)[:10]) if isinstance(data, Mapping) else type(data).__name__
        raise UserError(
            f"{path}: holds no optimizer state (found: {one_line(keys, 200) or 'nothing'}). "
            "Save optimizer.state_dict(), or a dictionary with it, such as {'model': …, 'optimizer': …}."
        )
    orders = list(_models(data))
    # Lightning's file has its own model; the folder's belongs to Hugging Face's optimizer.pt.
    if not orders and (order := parameters_in(path.parent)) is not None:
        orders = [order]
    return [_saved(key, state, orders) for key, state in found]


def _load(path: Path) -> Any:
    arguments: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    try:
        try:
            return torch.load(path, mmap=True, **arguments)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, **arguments)  # the format of torch before 1.6
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
        raise UserError(f"{path}: is not a complete file of torch.save.") from error
    except pickle.UnpicklingError as error:
        if (refused := re.search(r"GLOBAL ([\w.]+)", str(error))) is None:
            raise UserError(
                f"{path}: is not a file of torch.save; name the file with the optimizer's state."
            ) from error
        name = refused[1]
        raise UserError(
            f"{path}: holds an object of {name}, and loading it could run code. If you trust it, import that class and "
            f"call epsearch.inspect inside `with torch.serialization.safe_globals([{name.rpartition('.')[2]}]):`, "
            "or save the optimizer's state alone: torch.save(optimizer.state_dict(), …)."
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{path}: is not a complete file of torch.save ({one_line(error, 200)}).") from error


def _states(data: Any, key: str = "", depth: int = DEPTH) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that looks like `optimizer.state_dict()`, with its place."""
    if isinstance(data, Mapping):
        if "zero_stage" in data:
            raise UserError(
                f"{key or 'the file'}: is one rank's part of DeepSpeed's ZeRO, in which tensors are flattened. "
                "Gather it first, e.g. with DeepSpeed's universal checkpoints."
            )
        if isinstance(data.get("state"), Mapping) and isinstance(data.get("param_groups"), list):
            yield key, data
            return
        items = list(data.items())
    elif isinstance(data, list | tuple):
        items = list(enumerate(data))
    else:
        return
    if depth:
        for name, value in items:
            yield from _states(value, f"{key}.{name}" if key else str(name), depth - 1)


def _models(data: Any, depth: int = 2) -> Iterator[Ordered]:
    """The parameters of every model in the file."""
    if not isinstance(data, Mapping) or "param_groups" in data:
        return
    if data and all(isinstance(key, str) for key in data):
        tensors = sum(isinstance(value, torch.Tensor) for value in data.values())
        if tensors and tensors >= len(data) / 2:  # a model may save extra state
            yield parameters_of(data)
            return
    if depth:
        for value in data.values():
            yield from _models(value, depth - 1)


def _saved(key: str, state_dict: Mapping[str, Any], orders: list[Ordered]) -> SavedOptimizer:
    states: Mapping[Any, Mapping[str, Any]] = state_dict["state"]
    groups: list[Mapping[str, Any]] = state_dict["param_groups"]
    ids = [list(group.get("params", ())) for group in groups]
    shapes = [[_shape(states.get(each, {})) for each in group] for group in ids]
    names = _names(groups, ids, shapes, orders)
    tensors = [
        SavedTensor(name, shape, group, states.get(each, {}))
        for group, *rest in zip(groups, names, ids, shapes, strict=True)
        for name, each, shape in zip(*rest, strict=True)
    ]
    return SavedOptimizer(key, tensors)


def _shape(state: Mapping[str, Any]) -> Shape | None:
    return largest(tuple(value.shape) for value in state.values() if isinstance(value, torch.Tensor))


def _names(
    groups: list[Mapping[str, Any]], ids: list[list[Any]], shapes: list[list[Shape | None]], orders: list[Ordered]
) -> list[list[str]]:
    given = [group.get("param_names") or each for group, each in zip(groups, ids, strict=True)]
    if all(isinstance(name, str) for group in given for name in group):
        return given
    for order in orders:
        if (found := assign(order, shapes)) is not None:
            return found
    return [[f"group{index}.param{i}" for i in range(len(group))] for index, group in enumerate(ids)]
