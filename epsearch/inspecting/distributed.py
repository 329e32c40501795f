"""Optimizer state in a folder of torch.distributed.checkpoint (DCP), read one tensor at a time.

The folder has a file `.metadata`, which says in which file and where each shard of each tensor is. DCP flattens nested
dictionaries, and trainings save optimizers in several ways:

| saved | keys |
|---|---|
| `get_optimizer_state_dict(…)` | `optimizer.state.layers.0.weight.exp_avg_sq`, `optimizer.param_groups.0.lr` |
| the same, flattened (torchtitan) | as above, and `optimizer.param_groups.layers.0.weight.lr` |
| `optimizer.state_dict()` | `optimizer.state.0.exp_avg_sq`, `optimizer.param_groups.0.lr` |
"""

from __future__ import annotations

import io
import pickle
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import Enum, EnumType
from pathlib import Path
from typing import Any, BinaryIO

import torch

from epsearch.core.errors import UserError
from epsearch.core.messages import one_line
from epsearch.inspecting.saved import SavedOptimizer, SavedTensor, largest

METADATA = ".metadata"

_KEY = re.compile(r"(?P<optimizer>(?:.*?\.)??)(?P<part>state|param_groups)\.(?P<tensor>.+)\.(?P<key>[^.]+)")


def optimizers_in(folder: Path) -> list[SavedOptimizer]:
    """All optimizers in the folder; a tensor is read when it is looked up, and assembled from its shards.

    Raises:
        UserError: the metadata cannot be read, or it lists no optimizer state.
    """
    reader = _Reader(folder)
    parts: dict[str, dict[str, dict[str, dict[str, str]]]] = defaultdict(
        lambda: {"state": defaultdict(dict), "param_groups": defaultdict(dict)}
    )
    for name in reader.names:
        if (found := _KEY.fullmatch(name)) is not None:
            parts[found["optimizer"].rstrip(".")][found["part"]][found["tensor"]][found["key"]] = name
    saved = [_saved(key, part, reader) for key, part in parts.items() if part["state"] and part["param_groups"]]
    if not saved:
        first = one_line(", ".join(list(reader.names)[:5]), 200)
        raise UserError(
            f"{folder}: holds no optimizer state (found: {first} …). Save the optimizer too: "
            "torch.distributed.checkpoint.save({'model': …, 'optimizer': get_optimizer_state_dict(model, optimizer)})."
        )
    return saved


def _saved(key: str, parts: Mapping[str, Mapping[str, dict[str, str]]], reader: _Reader) -> SavedOptimizer:
    groups = {name: _Lazy(reader, names) for name, names in parts["param_groups"].items()}
    state = {name: _Lazy(reader, names) for name, names in parts["state"].items()}
    tensors = []
    for index, (name, group) in enumerate(groups.items()):
        # One group for each tensor if it was flattened.
        for place, each in enumerate(group.get("params", [name])):
            of_tensor = state.get(str(each), _Lazy(reader, {}))
            called = str(each) if isinstance(each, str) else f"group{index}.param{place}"
            tensors.append(SavedTensor(called, of_tensor.shape, group, of_tensor))
    return SavedOptimizer(key, tensors)


class _Lazy(Mapping[str, Any]):
    """Values that are read from the files when they are looked up."""

    def __init__(self, reader: _Reader, names: Mapping[str, str]) -> None:
        self._reader, self._names = reader, names

    def __getitem__(self, key: str) -> Any:
        return self._reader.read(self._names[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The largest tensor's, that of the parameter; None if there is none."""
        return largest(self._reader.shape(name) for name in self._names.values())


class _Reader:
    """The tensors and values of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        from torch.distributed.checkpoint.metadata import Metadata

        self._folder = folder
        try:
            with (folder / METADATA).open("rb") as file:
                metadata = _Unpickler(file).load()
        except OSError as error:
            raise UserError(f"{folder / METADATA}: cannot be read ({error.strerror}).") from error
        except (pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
            raise UserError(f"{folder / METADATA}: is not metadata of DCP ({one_line(error, 200)}).") from error
        if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, Mapping):
            raise UserError(f"{folder / METADATA}: is not metadata of DCP.")
        self._items, self._places = metadata.state_dict_metadata, metadata.storage_data
        # DCP shortens the paths to keys, and keeps the paths.
        paths = metadata.planner_data if isinstance(metadata.planner_data, Mapping) else {}
        self._keys = {".".join(map(str, paths.get(key, (key,)))): key for key in self._items}

    @property
    def names(self) -> list[str]:
        return list(self._keys)

    def shape(self, name: str) -> tuple[int, ...] | None:
        size = getattr(self._items[self._keys[name]], "size", None)
        return None if size is None else tuple(size)

    def read(self, name: str) -> Any:
        from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata

        key = self._keys[name]
        item = self._items[key]
        if not isinstance(item, TensorStorageMetadata):
            return self._load(MetadataIndex(key))
        if len(item.chunks) == 1:
            return self._load(MetadataIndex(key, item.chunks[0].offsets))
        whole = torch.empty(item.size, dtype=item.properties.dtype)
        for chunk in item.chunks:
            window = tuple(slice(start, start + size) for start, size in zip(chunk.offsets, chunk.sizes, strict=True))
            whole[window] = self._load(MetadataIndex(key, chunk.offsets))
        return whole

    def _load(self, index: Any) -> Any:
        place = self._places[index]
        path = self._folder / place.relative_path
        if getattr(place, "transform_descriptors", None):
            how = ", ".join(place.transform_descriptors)
            raise UserError(f"{path}: is compressed ({how}), which epsearch cannot read; save it without.")
        try:
            with path.open("rb") as file:
                part = io.BufferedReader(_Part(file, place.offset, place.length))
                return torch.load(part, map_location="cpu", weights_only=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); copy the whole folder.") from error
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"{path}: {index.fqn} cannot be read ({one_line(error, 200)}).") from error


class _Part(io.RawIOBase):
    """A part of an open file as a file."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        self._file, self._offset, self._length = file, offset, length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._length - self._position)]
        self._file.seek(self._offset + self._position)
        count: int = self._file.readinto(view)  # type: ignore[attr-defined]
        self._position += count
        return count


class _Unpickler(pickle.Unpickler):
    """Loads only what DCP's metadata consists of: unpickling anything else could run code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = (
            module == "torch.distributed.checkpoint.metadata"
            or (module, name) in _ALLOWED
            or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype))
        )
        if (module, name) == ("builtins", "getattr"):
            return _member  # how some releases of Python 3.11 pickle the member of an enum
        if not allowed:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not part of DCP's metadata")
        return super().find_class(module, name)


def _member(of: Any, name: str) -> Enum:
    """The member of an enum; no other attribute of anything."""
    if isinstance(of, EnumType) and name in of.__members__:
        member: Enum = of[name]
        return member
    raise pickle.UnpicklingError(f"it asks for {name!r}, which is not part of DCP's metadata")


_ALLOWED = {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib", "Path"),
    ("pathlib._local", "PosixPath"),
}
