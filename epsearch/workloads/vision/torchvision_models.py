"""Any classifier of torchvision.models, unchanged: `model: torchvision/resnet50`."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torchvision import models

from epsearch.core.errors import UserError
from epsearch.core.messages import suggestion

# These two also return the logits of auxiliary classifiers, and warn unless `init_weights` is set.
_WITHOUT_AUXILIARIES = ("googlenet", "inception_v3")


def torchvision_classifier(name: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Create the untrained classifier `name` of torchvision.models for images of `shape` (channels, height, width).

    Raises:
        UserError: torchvision has no such classifier, or it does not support such images.
    """
    where, names = f"workload.model: torchvision/{name}", models.list_models(module=models)
    if name not in names:
        raise UserError(f"{where}: torchvision has no such classifier. {suggestion(name, names)}")
    if shape[0] != 3:
        raise UserError(
            f"{where} takes images of 3 channels, but these have {shape[0]}. Use a model for any number of channels, "
            "such as mlp, cnn or resnet34."
        )
    settings = {"aux_logits": False, "init_weights": True} if name in _WITHOUT_AUXILIARIES else {}
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **settings)
    try:
        logits = _shape_of_logits(network, shape)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"{where} does not take images of {shape[1]} × {shape[2]} pixels ({str(error).splitlines()[0]:.200}). "
            "Use a model for small images, such as vgg11 or resnet34, or larger images: dataset: folder with "
            "image_size: 224."
        ) from error
    assert logits == (2, classes), f"{where} returns {logits}"
    return network


def _shape_of_logits(network: nn.Module, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The output shape for two images, computed on the meta device: no arithmetic, no random numbers."""
    tensors = dict(itertools.chain(network.named_parameters(), network.named_buffers()))
    described = {name: tensor.to("meta") for name, tensor in tensors.items()}
    network.eval()
    logits: torch.Tensor = torch.func.functional_call(network, described, torch.empty(2, *shape, device="meta"))
    network.train()
    return tuple(logits.shape)
