"""Networks for images of every size that the datasets have."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from epsearch.core.errors import UserError
from epsearch.core.imports import load_object
from epsearch.registry.workloads import WORKLOADS
from epsearch.training.seeding import seed_all
from epsearch.workloads.vision.data import ImageData, cifar10
from epsearch.workloads.vision.torchvision_models import torchvision_classifier
from tests.workloads.real_data import there

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64)]
DEEP = ["vgg11", "resnet34", "densenet121", "alexnet"]

PARAMETERS = {
    "mlp": 820_874,
    "cnn": 25_578,
    # The published models for CIFAR-10: 9.75, 21.28 and 6.96 million.
    "vgg11": 9_750_922,
    "resnet34": 21_282_122,
    "densenet121": 6_956_298,
    # 64·27 + 192·1600 + 384·1728 + 256·3456 + 256·2304, 1024·4096 + 4096² + 4096·10, and the biases.
    "alexnet": 23_468_874,
}


def make(name: str, shape: tuple[int, int, int], classes: int = 10) -> nn.Module:
    model: nn.Module = load_object(WORKLOADS["vision"].models[name].make)(shape, classes)
    return model


def on_meta(name: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The model without weights: creating and applying it takes no arithmetic and no memory."""
    with torch.device("meta"):
        return make(name, shape, classes)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# Tensors on the meta device have a shape and no data; `test_learns_real_images` trains every model.
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", WORKLOADS["vision"].models)
def test_logits_of_every_size(name: str, shape: tuple[int, int, int]) -> None:
    model = on_meta(name, shape, 7)
    logits = model(torch.empty(2, *shape, device="meta"))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", DEEP)
def test_the_smallest_and_odd_sizes(name: str) -> None:
    assert on_meta(name, (1, 29, 29), 10)(torch.empty(2, 1, 29, 29, device="meta")).shape == (2, 10)
    logits = make(name, (1, 16, 16))(torch.randn(2, 1, 16, 16))
    assert logits.shape == (2, 10)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name: str) -> None:
    assert count(on_meta(name, (3, 32, 32), 10)) == PARAMETERS[name]


def test_every_model_is_counted() -> None:
    assert PARAMETERS.keys() == WORKLOADS["vision"].models.keys()


@pytest.mark.thorough
@pytest.mark.parametrize("name", DEEP)
def test_same_weights_for_a_seed(name: str) -> None:
    weights = []
    for _ in range(2):
        seed_all(1)
        weights.append(nn.utils.parameters_to_vector(make(name, (3, 32, 32)).parameters()))
    assert torch.equal(*weights)


def test_replaced_layers_begin_as_torchvision_has_them() -> None:
    seed_all(0)
    resnet, densenet, vgg, alexnet = (
        make(name, (3, 32, 32)) for name in ("resnet34", "densenet121", "vgg11", "alexnet")
    )
    # He's initialisation: by the 64 · 9 weights that an input meets, by the 3 · 9 that an output does.
    assert resnet.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)
    assert densenet.features.conv0.weight.std().item() == pytest.approx((2 / 27) ** 0.5, rel=0.1)
    assert vgg.features[0].weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)
    assert vgg.classifier[1].weight.abs().max().item() == pytest.approx(512**-0.5, rel=0.01)
    assert not vgg.features[0].bias.any()
    # torch's own: uniform to 1 / √(inputs).
    assert alexnet.classifier[1].weight.abs().max().item() == pytest.approx(1 / 32, rel=0.01)
    assert alexnet.features[0].weight.abs().max().item() == pytest.approx(27**-0.5, rel=0.01)


@pytest.mark.parametrize("name", DEEP)
def test_too_small(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} needs images of at least 16 × 16 pixels.* 8 × 8\. Use mlp or cnn"):
        make(name, (1, 8, 8))


@pytest.fixture(scope="module")
def data() -> ImageData:
    return there(cifar10, "cifar10")


@pytest.mark.thorough
@pytest.mark.parametrize("name", PARAMETERS)
def test_learns_real_images(name: str, data: ImageData) -> None:
    """A few steps on eight images of CIFAR-10, shrunk to the smallest size: a real pass forward and back per model."""
    chosen = torch.arange(0, len(data.train_images), len(data.train_images) // 8)[:8]
    images = F.avg_pool2d(data.normalize(data.train_images[chosen]), 2)
    labels = data.train_labels[chosen]
    seed_all(0)
    model = make(name, (3, 16, 16))
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            # In so few steps its noise is larger than what is learnt.
            layer.p = 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1e-3


class TestTorchvision:
    @pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf", "squeezenet1_1"])
    def test_takes_small_images(self, name: str) -> None:
        model = torchvision_classifier(name, (3, 32, 32), 7)
        assert model.training
        assert all(parameter.device.type == "cpu" for parameter in model.parameters())
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(("name", "size"), [("googlenet", 64), ("inception_v3", 75)])
    def test_one_output_while_training(self, name: str, size: int) -> None:
        with torch.device("meta"):
            model = torchvision_classifier(name, (3, size, size), 7)
            assert model.training
            assert model(torch.empty(2, 3, size, size)).shape == (2, 7)

    def test_looking_at_sizes_draws_nothing(self) -> None:
        from torchvision import models

        seed_all(0)
        expected = models.resnet18(num_classes=10)
        seed_all(0)
        model = torchvision_classifier("resnet18", (3, 32, 32), 10)
        for ours, theirs in zip(model.state_dict().values(), expected.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs)

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            (
                "resnet15",
                (3, 32, 32),
                'torchvision/resnet15: torchvision has no such classifier. Did you mean "resnet1',
            ),
            ("deeplabv3_resnet50", (3, 32, 32), "torchvision has no such classifier"),
            ("resnet18", (1, 28, 28), "takes images of 3 channels, but these have 1"),
            ("alexnet", (3, 32, 32), "does not take images of 32 × 32 pixels .*Output size is too small"),
            ("squeezenet1_1", (3, 8, 8), "does not take images of 8 × 8 pixels"),
        ],
    )
    def test_refuses(self, name: str, shape: tuple[int, int, int], message: str) -> None:
        with pytest.raises(UserError, match=message):
            torchvision_classifier(name, shape, 10)
