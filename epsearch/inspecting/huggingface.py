"""The order of parameters in a checkpoint of Hugging Face's Trainer.

`model.safetensors` sorts its tensors by name. Their order in the model, which the optimizer follows, comes from the
model's class: `config.json` names it, and it is built without memory for weights.
"""

from __future__ import annotations

from pathlib import Path

import torch

from epsearch.inspecting.names import Ordered, parameters_of


def parameters_in(folder: Path) -> Ordered | None:
    """The parameters of the model saved in this folder; None if it has none or its class is not known."""
    if (folder / "config.json").is_file() and (found := _from_config(folder)) is not None:
        return found
    weights = folder / "pytorch_model.bin"
    if weights.is_file():
        return parameters_of(torch.load(weights, map_location="cpu", weights_only=True, mmap=True))
    return None


def _from_config(folder: Path) -> Ordered | None:
    try:
        import transformers

        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = getattr(transformers, config.architectures[0])(config)
    except Exception:
        # Transformers is not installed, or too old or too new for this model, or the model's code is elsewhere: the
        # tensors go without names.
        return None
    return [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
