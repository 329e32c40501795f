"""The classes of the modules around each parameter of a model."""

from __future__ import annotations

import torch


def module_classes(model: torch.nn.Module) -> dict[str, list[str]]:
    """Names of the classes of the modules that contain each parameter, by its name; the outermost module first."""
    found: dict[str, list[str]] = {}
    classes: dict[str, list[str]] = {}
    for prefix, module in model.named_modules():
        # FSDP2 derives the class FSDPLinear from Linear.
        outer = classes.get(prefix.rpartition(".")[0], []) if prefix else []
        classes[prefix] = [*outer, type(module).__name__.removeprefix("FSDP")]
        for name, _ in module.named_parameters(recurse=False):
            found[f"{prefix}.{name}" if prefix else name] = classes[prefix]
    return found
