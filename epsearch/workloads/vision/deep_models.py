"""torchvision's networks for images of 224 × 224, with first layers that suit small images.

Each takes (channels, height, width) and the number of classes.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models

from epsearch.core.errors import UserError
from epsearch.workloads.vision.small_models import Shape

SMALLEST = 16
"""Smallest height and width: smaller images would be pooled to nothing."""


def vgg11(shape: Shape, classes: int) -> nn.Module:
    """VGG11 without batch normalization: global average pooling, then layers of 512, 512 and `classes` units.

    Raises:
        UserError: the images are smaller than 16 × 16.
    """
    _check_size(shape, "vgg11")
    # On the meta device torchvision's classifier of 120 million weights is never allocated.
    with torch.device("meta"):
        network = models.VGG(models.vgg.make_layers(models.vgg.cfgs["A"]), init_weights=False)
        network.features[0] = nn.Conv2d(shape[0], 64, 3, padding=1)
        _round_up(network.features)
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(512, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(512, 512),
            nn.ReLU(inplace=True),
            nn.Linear(512, classes),
        )
    made: nn.Module = network.to_empty(device=torch.get_default_device())
    # Initialize convolutions as VGG's constructor does, the classifier with torch's defaults: torchvision's standard
    # deviation of 0.01 is meant for layers of 4096 units; with 512 the first hundreds of steps learn nothing.
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        elif isinstance(layer, nn.Linear):
            layer.reset_parameters()
    return made


def resnet34(shape: Shape, classes: int) -> nn.Module:
    """ResNet34 whose first layer is a 3 × 3 convolution of stride 1, without pooling.

    Raises:
        UserError: the images are smaller than 16 × 16.
    """
    _check_size(shape, "resnet34")
    network: nn.Module = models.resnet34(num_classes=classes)
    first = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    # The same initialization as the layer it replaces.
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule("conv1", first)
    network.set_submodule("maxpool", nn.Identity())
    return network


def densenet121(shape: Shape, classes: int) -> nn.Module:
    """DenseNet121 whose first layer is a 3 × 3 convolution of stride 1, without normalization, ReLU and pooling.

    Raises:
        UserError: the images are smaller than 16 × 16.
    """
    _check_size(shape, "densenet121")
    network: nn.Module = models.densenet121(num_classes=classes)
    first = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    # The same initialization as the layer it replaces.
    nn.init.kaiming_normal_(first.weight)
    beginning = {"conv0": first, "norm0": nn.Identity(), "relu0": nn.Identity(), "pool0": nn.Identity()}
    for name, layer in beginning.items():
        network.set_submodule(f"features.{name}", layer)
    return network


def alexnet(shape: Shape, classes: int) -> nn.Module:
    """AlexNet whose first layer is a 3 × 3 convolution of stride 2, with 2 × 2 pooling.

    Raises:
        UserError: the images are smaller than 16 × 16.
    """
    _check_size(shape, "alexnet")
    # On the meta device torchvision's first linear layer of 38 million weights is never allocated.
    with torch.device("meta"):
        network = models.AlexNet(num_classes=classes)
        network.features[0] = nn.Conv2d(shape[0], 64, 3, stride=2, padding=1)
        for index, layer in enumerate(network.features):
            if isinstance(layer, nn.MaxPool2d):
                network.features[index] = nn.MaxPool2d(2)
        _round_up(network.features)
        network.avgpool = nn.AdaptiveAvgPool2d(2)
        network.classifier[1] = nn.Linear(256 * 2 * 2, 4096)
    made: nn.Module = network.to_empty(device=torch.get_default_device())
    # AlexNet uses every layer's default initialization.
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.reset_parameters()
    return made


def _round_up(layers: nn.Sequential) -> None:
    """Make each pooling keep the last row and column of an odd size, so that small images do not vanish."""
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True


def _check_size(shape: Shape, name: str) -> None:
    _, height, width = shape
    if min(height, width) < SMALLEST:
        raise UserError(
            f"workload.model: {name} needs images of at least {SMALLEST} × {SMALLEST} pixels, but these are "
            f"{height} × {width}. Use mlp or cnn."
        )
