"""What `workload:` can name: kinds of workload, their datasets and models, as `module:attribute` paths.

Nothing here imports torch; the paths are loaded when a study uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from epsearch.registry.downloads import CIFAR10, FASHION_MNIST, PENN_TREEBANK, TINY_IMAGENET, Download


class Dataset(NamedTuple):
    """A dataset: `load` names the function that loads it.

    The function receives the keys of the `workload` section listed in `keys` (if given) and `needs` (required).
    `has_validation`: the dataset has a validation part. `reports` replaces the kind's metrics. `downloads` are the
    files fetched before workers start.
    """

    load: str
    note: str
    keys: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    has_validation: bool = False
    reports: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()


class Model(NamedTuple):
    """A model: `make` names the function that builds it; its arguments depend on the kind of workload."""

    make: str
    note: str


class Kind(NamedTuple):
    """A kind of workload: `make` names a `Workload` class, called with (StudyConfig, torch.device).

    `reports` are its metrics; the first is the study's default. `keys` are the keys of the `workload` section that
    every dataset of this kind takes. `families` are prefixes for models named by a library.
    """

    make: str
    reports: tuple[str, ...]
    datasets: dict[str, Dataset]
    models: dict[str, Model]
    keys: tuple[str, ...] = ()
    families: Mapping[str, Model] = MappingProxyType({})


_DATA = "epsearch.workloads.vision.data"
_MODELS = "epsearch.workloads.vision.small_models"
_DEEP_MODELS = "epsearch.workloads.vision.deep_models"
_TEXTS = "epsearch.workloads.language.data"
_TEXT_MODELS = "epsearch.workloads.language.models"
_TABLES = "epsearch.workloads.tabular.data"
_TABLE_MODELS = "epsearch.workloads.tabular.models"

WORKLOADS: dict[str, Kind] = {
    "vision": Kind(
        make="epsearch.workloads.vision.workload:VisionWorkload",
        reports=("accuracy", "loss"),
        datasets={
            "digits": Dataset(f"{_DATA}:digits", "1,797 handwritten digits of 8 × 8, part of scikit-learn"),
            "fashion_mnist": Dataset(
                f"{_DATA}:fashion_mnist", "70,000 images of 28 × 28, 10 classes", downloads=FASHION_MNIST
            ),
            "cifar10": Dataset(f"{_DATA}:cifar10", "60,000 color images of 32 × 32, 10 classes", downloads=CIFAR10),
            "tiny_imagenet": Dataset(
                f"{_DATA}:tiny_imagenet", "110,000 color images of 64 × 64, 200 classes", downloads=TINY_IMAGENET
            ),
            "folder": Dataset(
                f"{_DATA}:folder",
                "your own images in PATH/train/CLASS and PATH/test/CLASS",
                keys=("image_size",),
                needs=("path",),
            ),
        },
        models={
            "mlp": Model(f"{_MODELS}:mlp", "multi-layer perceptron, 256 and 128 units"),
            "cnn": Model(f"{_MODELS}:cnn", "two small convolutions"),
            "vgg11": Model(f"{_DEEP_MODELS}:vgg11", "VGG11 for small images, without batch normalization"),
            "resnet34": Model(f"{_DEEP_MODELS}:resnet34", "ResNet34 for small images"),
            "densenet121": Model(f"{_DEEP_MODELS}:densenet121", "DenseNet121 for small images"),
            "alexnet": Model(f"{_DEEP_MODELS}:alexnet", "AlexNet for small images"),
        },
        families={
            "torchvision/": Model(
                "epsearch.workloads.vision.torchvision_models:torchvision_classifier",
                "any classifier of torchvision.models",
            ),
        },
        keys=("augment", "validation"),
    ),
    "language": Kind(
        make="epsearch.workloads.language.workload:LanguageWorkload",
        reports=("perplexity", "loss"),
        datasets={
            "ptb": Dataset(
                f"{_TEXTS}:ptb",
                "Penn TreeBank, 929,589 words, 10,000 of them distinct",
                has_validation=True,
                downloads=PENN_TREEBANK,
            ),
            "war_and_peace": Dataset(
                f"{_TEXTS}:war_and_peace", "Tolstoy's novel, 3.2 million characters", has_validation=True
            ),
            "python_stdlib": Dataset(
                f"{_TEXTS}:python_stdlib", "2 million characters of Python's own sources", has_validation=True
            ),
            "text": Dataset(
                f"{_TEXTS}:text",
                "your own UTF-8 text file, as characters or words",
                keys=("level",),
                needs=("path",),
                has_validation=True,
            ),
        },
        models={
            "lstm1": Model(f"{_TEXT_MODELS}:lstm1", "LSTM of one layer of 400, AdaBelief's settings"),
            "lstm2": Model(f"{_TEXT_MODELS}:lstm2", "LSTM of two layers, 1150 and 400"),
            "lstm_small": Model(f"{_TEXT_MODELS}:lstm_small", "LSTM of one layer of 128"),
            "gpt": Model(f"{_TEXT_MODELS}:gpt", "transformer of 4 blocks of 128"),
        },
        keys=("bptt", "validation"),
    ),
    "tabular": Kind(
        make="epsearch.workloads.tabular.workload:TabularWorkload",
        reports=("accuracy", "loss"),
        datasets={
            "iris": Dataset(f"{_TABLES}:iris", "150 flowers, 4 columns, 3 species, part of scikit-learn"),
            "wine": Dataset(f"{_TABLES}:wine", "178 wines, 13 columns, 3 growers, part of scikit-learn"),
            "breast_cancer": Dataset(
                f"{_TABLES}:breast_cancer", "569 masses, 30 columns, 2 classes, part of scikit-learn"
            ),
            "diabetes": Dataset(
                f"{_TABLES}:diabetes",
                "442 patients, 10 columns, a regression, part of scikit-learn",
                reports=("loss", "r2"),
            ),
        },
        models={
            "mlp": Model(f"{_TABLE_MODELS}:mlp", "multi-layer perceptron, 64 and 64 units"),
            "linear": Model(f"{_TABLE_MODELS}:linear", "logistic or linear regression"),
        },
        keys=("validation",),
    ),
}

AUGMENTATIONS: dict[str, str] = {
    "flip": "epsearch.workloads.vision.augmentation:flip",
    "crop": "epsearch.workloads.vision.augmentation:crop",
}

METRICS: dict[str, str] = {
    "accuracy": "maximize",
    "loss": "minimize",
    "perplexity": "minimize",
    "r2": "maximize",
}
"""Metrics with a known direction: `metric.goal` may be omitted."""
