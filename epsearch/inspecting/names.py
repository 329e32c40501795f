"""Names for the tensors of an optimizer, which saves only their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch

from epsearch.inspecting.saved import Shape

Ordered = Sequence[tuple[str, Shape]]
"""A model's parameters in the order of `named_parameters()`: names and shapes."""

_BUFFERS = re.compile(
    r"(^|\.)(running_mean|running_var|inv_freq|relative_coords_table|masked_bias|(sin|cos)_cached|freqs_cis|attn_mask)$"
)
"""Buffers of floats, whose names are the only way to tell them from parameters."""

_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)
"""What Hugging Face's Trainer puts into the group without weight decay, besides every LayerNorm."""

_LAYER_NORM = re.compile(r"(^|\.)(ln|bn)_?\w*\.(weight|bias)$|norm\w*\.(weight|bias)$", re.IGNORECASE)

_SPLITS: Sequence[Callable[[str, Shape], bool]] = (
    lambda name, shape: _NO_DECAY.search(name) is None and not (len(shape) == 1 and _LAYER_NORM.search(name)),
    lambda name, shape: len(shape) >= 2,
    lambda name, shape: not name.endswith("bias"),
)
"""How trainings divide parameters into those with and without weight decay."""


def parameters_of(state_dict: Mapping[str, object]) -> Ordered:
    """The parameters among a model's saved tensors, which are in the order of its modules.

    Buffers are left out, and the second name of a tied tensor.
    """
    seen = set()
    found = []
    for name, tensor in state_dict.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or _BUFFERS.search(name):
            continue
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if place not in seen or not tensor.numel():
            seen.add(place)
            found.append((name, tuple(tensor.shape)))
    return found


def assign(ordered: Ordered, groups: Sequence[Sequence[Shape | None]]) -> list[list[str]] | None:
    """A name for each tensor of an optimizer's groups, whose shapes are given (None: unknown).

    Groups keep the order of the model. They are one after another (also one for all), or divided by weight decay, as by
    Hugging Face's Trainer, by the number of dimensions, or with biases apart. None if no division gives these shapes.
    """
    divisions: list[Sequence[Ordered]] = [_in_turn(ordered, [len(group) for group in groups])]
    if len(groups) == 2:
        for decays in _SPLITS:
            both = [[item for item in ordered if bool(decays(*item)) is kept] for kept in (True, False)]
            divisions += [both, both[::-1]]
    for division in divisions:
        if all(map(_fits, division, groups)) and sum(map(len, division)) == len(ordered):
            return [[name for name, _ in part] for part in division]
    return None


def _in_turn(ordered: Ordered, lengths: Sequence[int]) -> list[Ordered]:
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    return [ordered[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _fits(part: Ordered, shapes: Sequence[Shape | None]) -> bool:
    return len(part) == len(shapes) and all(
        shape is None or shape == expected for (_, expected), shape in zip(part, shapes, strict=True)
    )
